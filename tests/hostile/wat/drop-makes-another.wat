;; Who drops a stream makes and drops another: a recursion by way of the host's own frames.
;; stream ok
;; chat 38001 stack
(import "[export]pg-llm:guest/chat@1.0.0" "[resource-drop]answer-stream" (func $drop (param i32)))
(func $again (export "pg-llm:guest/chat@1.0.0#[dtor]answer-stream") (param i32) (call $drop (call $new (i32.const 1))))
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $drop (call $new (i32.const 1))) (call $ok))
