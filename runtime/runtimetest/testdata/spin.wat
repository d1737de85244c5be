;; Never ends, without a host call.
(module
  (memory (export "memory") 1)
  (func (export "liftoff_run") (result i32) (loop $l (br $l)) (i32.const 0)))
