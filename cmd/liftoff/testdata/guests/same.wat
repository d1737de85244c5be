;; A liftoff_v1 guest whose output is its first input.
(module
  (import "liftoff_v1" "output" (func $output (param i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (func (export "liftoff_run") (result i32)
    (i64.ne (call $output (i32.const 0) (i32.const 0) (i32.const 0)) (i64.const 0))))
