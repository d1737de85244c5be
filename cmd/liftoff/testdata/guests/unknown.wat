;; A module with an import that no host provides.
(module
  (import "env" "frobnicate" (func (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")))
