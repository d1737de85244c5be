;; A WASI command that reads 4 KiB of stdin at 1,048,576 + 65,536, writes them to stdout 1,024 times, so that it waits for its
;; reader, and reads and writes once more: with an argument the same bytes, without one the first of stdin.
(module
  (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
  (memory (export "memory") 3)
  (func $read (param $at i64)
    (if (call $pread (i32.const 0) (i32.const 0) (i32.const 1) (local.get $at) (i32.const 8)) (then unreachable)))
  (func $print
    (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable)))
  (func (export "_start") (local $n i32)
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (i32.const 4096))
    (call $read (i64.const 1114112))
    (local.set $n (i32.const 1024))
    (loop $more
      (call $print)
      (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (if (call $args (i32.const 16) (i32.const 20)) (then unreachable))
    (call $read (select (i64.const 1114112) (i64.const 0) (i32.gt_u (i32.load (i32.const 16)) (i32.const 1))))
    (call $print)))
