;; Attaches an output, prints a line, and traps two calls deep.
(module
  (import "liftoff_v1" "output" (func $output (param i32 i32 i32) (result i64)))
  (import "liftoff_v1" "log" (func $log (param i32 i32 i32) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "before")
  (func $innermost unreachable)
  (func $outer (call $innermost))
  (func (export "liftoff_run") (result i32)
    (drop (call $output (i32.const 0) (i32.const 0) (i32.const 0)))
    (drop (call $log (i32.const 0) (i32.const 0) (i32.const 6)))
    (call $outer)
    (i32.const 0)))
