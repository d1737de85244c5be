;; Writes different blocks endlessly.
(module
  (import "liftoff_v1" "block_write" (func $block_write (param i32 i32 i32) (result i64)))
  (import "liftoff_v1" "close" (func $close (param i32) (result i64)))
  (memory (export "memory") 1)
  (func (export "liftoff_run") (result i32)
    (loop $l
      (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
      (drop (call $close (i32.wrap_i64 (call $block_write (i32.const 0x55) (i32.const 0) (i32.const 4)))))
      (br $l))
    (i32.const 0)))
