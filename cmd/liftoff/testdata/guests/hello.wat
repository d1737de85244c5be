;; A WASI command: a line on stdout, one on stderr, and a file in /out.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "hello\n")
  (data (i32.const 80) "a note\n")
  (data (i32.const 96) "out/greeting.txt")
  (func $put (param $fd i32) (param $ptr i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $ptr))
    (i32.store (i32.const 4) (local.get $len))
    (if (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable)))
  (func (export "_start")
    (call $put (i32.const 1) (i32.const 64) (i32.const 6))
    (call $put (i32.const 2) (i32.const 80) (i32.const 7))
    ;; fd 3 is the preopen; create, with the right to write
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 96) (i32.const 16)
          (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 12)) (then unreachable))
    (call $put (i32.load (i32.const 12)) (i32.const 64) (i32.const 6))))
