;; Asks to be called again in 584 million years, and says that it is worth it. Until then the others wait, for as long as they have time.
;; chat 38000
;; batch 53400
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (call $fail (i32.const 8) (i32.const 0) (i32.const 0)))
  (i32.store8 (i32.const 8202) (i32.const 1)) (i32.store16 (i32.const 8204) (i32.const 503))
  (i32.store8 (i32.const 8232) (i32.const 1)) (i64.store (i32.const 8240) (i64.const -1))
  (i32.store8 (i32.const 8248) (i32.const 1)) (i32.store8 (i32.const 8249) (i32.const 1)) (i32.const 8192))
