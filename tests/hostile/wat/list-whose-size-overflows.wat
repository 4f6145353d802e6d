;; A list whose length times its elements' size is more than 32 bits.
;; chat 38001 out of bounds
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (call $ok)) (i32.store (i32.const 8224) (i32.const 16)) (i32.store (i32.const 8228) (i32.const 0x4ec4ec50)) (i32.const 8192))
