;; Finishes, and then fails.
;; stream 38000 late
(global $n (mut i32) (i32.const 0)) (data (i32.const 12288) "late")
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (if (global.get $n) (then (return (call $fail (i32.const 9) (i32.const 12288) (i32.const 4)))))
  (global.set $n (i32.const 1)) (call $event (i32.const 8)))
