;; UTF-16's surrogates, which are no characters.
;; chat 38001 utf-8
(data (i32.const 12288) "\ed\a0\80")
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $text (i32.const 12288) (i32.const 3)))
