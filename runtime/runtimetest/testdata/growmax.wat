;; Grows its memory to its own maximum, where growing further fails.
(module
  (memory (export "memory") 1 3)
  (func (export "liftoff_run") (result i32)
    (drop (memory.grow (i32.const 2)))
    (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
