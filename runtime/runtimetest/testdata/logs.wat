;; Logs endlessly.
(module
  (import "liftoff_v1" "log" (func $log (param i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "line")
  (func (export "liftoff_run") (result i32)
    (loop $l (drop (call $log (i32.const 0) (i32.const 0) (i32.const 4))) (br $l)) (i32.const 0)))
