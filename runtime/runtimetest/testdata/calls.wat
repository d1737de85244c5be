;; Never ends, and calls the host all the time.
(module
  (import "liftoff_v1" "input_count" (func $input_count (result i64)))
  (import "liftoff_v1" "progress" (func $progress (param i64 i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "liftoff_run") (result i32)
    (drop (call $progress (i64.const 1) (i64.const 2)))
    (loop $l (drop (call $input_count)) (br $l)) (i32.const 0)))
