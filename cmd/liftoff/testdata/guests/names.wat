;; A WASI command with an export whose name would clear a terminal.
(module
  (memory (export "memory") 1)
  (func (export "_start") (export "a\nb\1b[2J")))
