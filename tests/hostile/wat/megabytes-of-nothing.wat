;; A million tool calls without a word in them: small to say, large to hold.
;; chat 38001 too much data
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (local $at i32) (drop (call $ok))
  (drop (memory.grow (i32.const 900)))
  (local.set $at (i32.const 262144))
  (loop $again
    (i32.store (local.get $at) (i32.const 3))
    (local.set $at (i32.add (local.get $at) (i32.const 52)))
    (br_if $again (i32.lt_u (local.get $at) (i32.const 52262144))))
  (i32.store (i32.const 8224) (i32.const 262144)) (i32.store (i32.const 8228) (i32.const 1000000)) (i32.const 8192))
