;; Calls itself until its stack is full.
(module
  (memory (export "memory") 1)
  (func $deeper (export "liftoff_run") (result i32)
    (i32.add (call $deeper) (i32.const 1))))
