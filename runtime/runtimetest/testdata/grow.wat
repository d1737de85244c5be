;; Grows its memory endlessly.
(module
  (memory (export "memory") 1)
  (func (export "liftoff_run") (result i32)
    (loop $l (drop (memory.grow (i32.const 1))) (br $l)) (i32.const 0)))
