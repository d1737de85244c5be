;; hello: outputs "hello, " and the first 64 KiB of the first input, or "hello, world".
(module
  (import "liftoff_v1" "file_read"
    (func $file_read (param $h i32) (param $off i64) (param $ptr i32) (param $len i32) (result i64)))
  (import "liftoff_v1" "file_create" (func $file_create (result i64)))
  (import "liftoff_v1" "file_write"
    (func $file_write (param $h i32) (param $ptr i32) (param $len i32) (result i64)))
  (import "liftoff_v1" "output"
    (func $output (param $h i32) (param $name i32) (param $len i32) (result i64)))

  (memory (export "memory") 2)
  (data (i32.const 0) "hello, world\n")

  (func (export "liftoff_run") (result i32) (local $out i32) (local $size i64) (local $len i32)
    ;; Every call returns a negative errno if it fails.
    (local.set $size (call $file_read (i32.const 0) (i64.const 0) (i32.const 7) (i32.const 65536)))
    (local.set $len (if (result i32) (i64.lt_s (local.get $size) (i64.const 0))
      (then (i32.const 6)) ;; no input: "world\n" is still there
      (else (if (result i32) (i64.gt_s (local.get $size) (i64.const 65536))
        (then (i32.const 65536))
        (else (i32.wrap_i64 (local.get $size)))))))

    (local.set $out (i32.wrap_i64 (call $file_create)))
    (drop (call $file_write (local.get $out) (i32.const 0) (i32.add (local.get $len) (i32.const 7))))
    ;; 0 is success, and the result of a successful output call.
    (i64.ne (call $output (local.get $out) (i32.const 0) (i32.const 0)) (i64.const 0))))
