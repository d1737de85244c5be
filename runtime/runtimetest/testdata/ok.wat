;; The smallest guest: it succeeds.
(module
  (memory (export "memory") 1)
  (func (export "liftoff_run") (result i32) (i32.const 0)))
