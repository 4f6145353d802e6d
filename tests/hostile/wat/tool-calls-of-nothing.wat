;; Three hundred thousand tool calls without a word in them.
;; chat 38001 larger than
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (local $at i32) (drop (call $ok))
  (drop (memory.grow (i32.const 300)))
  (local.set $at (i32.const 262144))
  (loop $again
    (i32.store (local.get $at) (i32.const 3))
    (local.set $at (i32.add (local.get $at) (i32.const 52)))
    (br_if $again (i32.lt_u (local.get $at) (i32.const 15862144))))
  (i32.store (i32.const 8224) (i32.const 262144)) (i32.store (i32.const 8228) (i32.const 300000)) (i32.const 8192))
