;; Every count of tokens at its end.
;; chat ok
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (local $at i32) (drop (call $text (i32.const 0) (i32.const 0)))
  (i32.store8 (i32.const 8248) (i32.const 1)) (local.set $at (i32.const 8256))
  (loop $again
    (i32.store8 (local.get $at) (i32.const 1)) (i64.store offset=8 (local.get $at) (i64.const -1))
    (br_if $again (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (i32.const 8336))))
  (i32.const 8192))
