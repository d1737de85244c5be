;; A WASI command that prints 1,000,000 lines of 16 bytes, 4,000 in one write.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start") (local $i i32)
    (loop $fill
      (i64.store (i32.add (i32.const 1024) (local.get $i)) (i64.const 0x3736353433323130))
      (i64.store (i32.add (i32.const 1032) (local.get $i)) (i64.const 0x0a65646362613938))
      (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 16))) (i32.const 64000))))
    (local.set $i (i32.const 250))
    (loop $more
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 64000))
      (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
      (br_if $more (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))))
