;; Imports a host call that does not exist.
(module
  (import "env" "foo" (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "liftoff_run") (result i32) (i32.const 0)))
