;; A hundred thousand tokens that share the same thousand alternatives.
;; chat 38001 too much data
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (local $at i32) (drop (call $ok)) (drop (memory.grow (i32.const 100)))
  (local.set $at (i32.const 262144))
  (loop $again
    (i32.store offset=16 (local.get $at) (i32.const 3000000)) (i32.store offset=20 (local.get $at) (i32.const 1000))
    (local.set $at (i32.add (local.get $at) (i32.const 24)))
    (br_if $again (i32.lt_u (local.get $at) (i32.const 2662144))))
  (i32.store (i32.const 8352) (i32.const 262144)) (i32.store (i32.const 8356) (i32.const 100000)) (i32.const 8192))
