;; Goes on after the provider's last word; what ends is an answer.
;; stream ok
(global $n (mut i32) (i32.const 0))
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (global.set $n (i32.add (global.get $n) (i32.const 1)))
  (if (i32.eq (global.get $n) (i32.const 1)) (then (return (call $event (i32.const 8)))))
  (if (i32.lt_u (global.get $n) (i32.const 10)) (then (return (call $event (i32.const 1)))))
  (call $ok))
