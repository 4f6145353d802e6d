;; Tool calls of no bytes, each with a number of its own.
;; stream 38001 more than 128 tool calls
(global $n (mut i32) (i32.const -9))
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (drop (call $event (i32.const 5))) (global.set $n (i32.add (global.get $n) (i32.const 1))) (i32.store (i32.const 8216) (global.get $n)) (i32.const 8192))
