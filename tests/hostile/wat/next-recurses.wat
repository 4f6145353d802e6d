;; The next event is an endless recursion.
;; stream 38001 stack overflowed
(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (i32.add (call $deeper (local.get 0)) (i32.const 1)))
