(module
(table $a 0 externref) (table $b 600000 externref)
(func (export "grow") (param i32) (result i32) (table.grow $a (ref.null extern) (local.get 0)))
(func (export "fill") (param i32 externref i32) (table.fill $b (local.get 0) (local.get 1) (local.get 2)))
(func (export "copy") (param i32 i32 i32) (table.copy $b $b (local.get 0) (local.get 1) (local.get 2)))
(func (export "get") (param i32) (result externref) (table.get $b (local.get 0))))
