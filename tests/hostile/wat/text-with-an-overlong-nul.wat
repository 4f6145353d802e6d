;; A NUL in two bytes, to get it past who looks for one.
;; chat 38001 utf-8
(data (i32.const 12288) "\c0\80")
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $text (i32.const 12288) (i32.const 2)))
