;; Fails with an exit code: the length of its first argument.
(module
  (import "liftoff_v1" "args" (func $args (param i32 i32) (result i64)))
  (memory (export "memory") 1)
  (func (export "liftoff_run") (result i32)
    (i32.wrap_i64 (i64.sub (call $args (i32.const 0) (i32.const 0)) (i64.const 1)))))
