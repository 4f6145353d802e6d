//! Known injections: words of one list after words of another, with no more than a few others between.
//!
//! Words are lower case and without accents; `*` at the end stands for any ending.

/// A pattern.
pub(crate) struct Pattern {
    pub(crate) finding: &'static str,
    pub(crate) weight: f64,
    /// Most words from one slot's word to the next's.
    pub(crate) gap: usize,
    pub(crate) slots: &'static [&'static str],
}

const fn pattern(finding: &'static str, weight: f64, gap: usize, slots: &'static [&'static str]) -> Pattern {
    Pattern { finding, weight, gap, slots }
}

const OVERRIDE: &str = "asks to ignore instructions";
const REVEAL: &str = "asks for the system prompt";
const ROLE: &str = "gives the model another role";
const HIDE: &str = "asks to hide something from the user";
const ADDRESS: &str = "speaks to a model that reads it";
const EXFILTRATE: &str = "asks to send data away";

pub(crate) const PATTERNS: &[Pattern] = &[
    // English.
    pattern(
        OVERRIDE,
        0.7,
        5,
        &[
            "ignore disregard forget override bypass discard neglect overrule abandon",
            "previous prior above earlier preceding foregoing existing original initial your all any system these former past everything safety its other",
            "instruction* prompt prompts rule rules direction* directive* guideline* command* polic* constraint* restriction* programming guardrail* protocol* training",
        ],
    ),
    pattern(
        OVERRIDE,
        0.7,
        4,
        &["ignore disregard forget", "everything anything all what", "above before previously earlier told said prior"],
    ),
    pattern(
        OVERRIDE,
        0.6,
        4,
        &[
            "not dont never stop cease",
            "follow* obey* listen* comply* adhere*",
            "previous prior above earlier your system original these",
            "instruction* prompt rule rules direction* directive* guideline* command* polic*",
        ],
    ),
    pattern(
        OVERRIDE,
        0.45,
        3,
        &[
            "new updated revised real actual true following only",
            "instruction* directive* orders",
            "are is supersede* override* begin follow* take",
        ],
    ),
    pattern(OVERRIDE, 0.5, 2, &["system admin* security safety emergency priority developer", "override overridden"]),
    pattern(
        OVERRIDE,
        0.4,
        3,
        &["end", "of", "system user document context instruction* prompt", "prompt input query message instruction* text content"],
    ),
    pattern(
        REVEAL,
        0.65,
        5,
        &[
            "reveal show print repeat output display leak expose disclose tell give dump share recite write echo translate summarize reproduce what whats",
            "system initial hidden secret original developer internal confidential",
            "prompt prompts instruction* directive*",
        ],
    ),
    pattern(
        REVEAL,
        0.6,
        5,
        &[
            "reveal show print repeat output display leak expose disclose tell give dump share recite echo",
            "system hidden secret developer confidential",
            "message messages rules",
        ],
    ),
    pattern(OVERRIDE, 0.65, 3, &["ignore disregard forget", "instruction* prompt rule rules guideline*", "above before preceding"]),
    pattern(OVERRIDE, 0.55, 2, &["your", "new real actual updated", "instruction* directive* orders", "are is follow*"]),
    pattern(
        ADDRESS,
        0.4,
        3,
        &["attention hey dear hello", "ai llm models assistants chatbot* gpt bots", "ignore please must this you rate recommend"],
    ),
    pattern(
        REVEAL,
        0.6,
        4,
        &["repeat print output recite copy", "everything text words content instruction* all", "above before previous preceding"],
    ),
    pattern(
        ROLE,
        0.65,
        5,
        &[
            "act behave pretend roleplay respond simulate become you youre",
            "dan unrestricted jailbroken jailbreak uncensored unfiltered amoral immoral unaligned unethical",
        ],
    ),
    pattern(ROLE, 0.7, 1, &["do", "anything", "now"]),
    pattern(
        ROLE,
        0.6,
        4,
        &[
            "enable enabled enter activate activated switch you youre in into",
            "developer debug god dan jailbreak admin sudo root unrestricted unsafe",
            "mode",
        ],
    ),
    pattern(
        ROLE,
        0.5,
        4,
        &[
            "you youre answer respond act behave",
            "no without any free from",
            "restriction* filter filters limitation* censorship guardrail* boundaries ethic* moral*",
        ],
    ),
    pattern(ROLE, 0.4, 3, &["you youre", "are now", "now longer", "bound assistant an a the free my"]),
    pattern(ROLE, 0.35, 3, &["from", "now", "on", "you your always only"]),
    pattern(ROLE, 0.5, 3, &["your", "real true new actual only sole", "task goal purpose objective mission", "is"]),
    pattern(
        HIDE,
        0.5,
        3,
        &[
            "not never dont without",
            "tell telling inform informing mention mentioning reveal revealing alert alerting notify notifying show",
            "user human operator",
        ],
    ),
    pattern(
        ADDRESS,
        0.5,
        3,
        &[
            "important urgent attention critical note message notice instruction*",
            "for to from",
            "ai llm assistant assistants model models chatbot* gpt bots",
        ],
    ),
    pattern(
        ADDRESS,
        0.4,
        4,
        &[
            "if",
            "you youre",
            "ai llm model assistant bot gpt agent",
            "reading processing you then please must say include add reply respond",
        ],
    ),
    pattern(
        ADDRESS,
        0.4,
        3,
        &[
            "ai llm assistant* model models agent* chatbot* bots",
            "reading processing reviewing summariz* analyz* parsing reads evaluating screening",
            "this",
        ],
    ),
    pattern(
        EXFILTRATE,
        0.6,
        7,
        &[
            "send post forward email upload exfiltrate transmit leak append submit",
            "password* credential* secret* conversation history chat",
            "to",
            "http https attacker* webhook evil www",
        ],
    ),
    pattern(
        EXFILTRATE,
        0.4,
        5,
        &[
            "call invoke run execute use",
            "tool function command shell delete_* transfer_* send_*",
            "without",
            "asking confirm* permission approval",
        ],
    ),
    // German.
    pattern(
        OVERRIDE,
        0.7,
        5,
        &[
            "ignorier* vergiss vergesst missacht* umgeh* uberschreib* verwirf",
            "vorherig* vorig* obig* bisherig* alle alles deine ihre eure fruher* vorangegangen* vorangehend* system* samtliche ursprunglich*",
            "anweisung* instruktion* regel regeln vorgabe* befehl* prompt* richtlinie* systemprompt*",
        ],
    ),
    pattern(OVERRIDE, 0.6, 4, &["vergiss ignorier*", "alles", "bisher vorher zuvor oben gesagt*"]),
    pattern(
        REVEAL,
        0.65,
        5,
        &[
            "zeig* verrat* gib nenn* wiederhol* druck* offenbar* schreib* sag",
            "systemprompt* systemanweisung* systemnachricht* systembefehl*",
        ],
    ),
    pattern(
        REVEAL,
        0.65,
        5,
        &[
            "zeig* verrat* gib nenn* wiederhol* druck* offenbar*",
            "system* geheim* versteckt* intern* ursprunglich*",
            "prompt* anweisung* instruktion*",
        ],
    ),
    pattern(ROLE, 0.55, 4, &["du", "bist", "jetzt nun ab", "ohne unzensiert* uneingeschrankt* dan frei"]),
    // French.
    pattern(
        OVERRIDE,
        0.7,
        5,
        &[
            "ignore ignorez ignorer oublie oubliez neglige negligez contourne contournez",
            "instruction* consigne* directive* regle regles ordres",
            "precedent* anterieur* dessus systeme initial* avant",
        ],
    ),
    pattern(OVERRIDE, 0.65, 4, &["ignore ignorez oublie oubliez", "toutes tes vos", "instruction* consigne* directive* regles"]),
    pattern(
        REVEAL,
        0.65,
        6,
        &[
            "montre* affiche* revele* donne* repete* ecris",
            "prompt invite instruction* consigne* message",
            "systeme cache* secret* initial* interne*",
        ],
    ),
    // Spanish and Portuguese.
    pattern(
        OVERRIDE,
        0.7,
        5,
        &[
            "ignora ignore ignoren ignorar olvida olvide desatiende omite esqueca desconsidere desconsidera",
            "instruccion* orden ordenes regla reglas indicacion* directric* instruco* ordens regras comandos",
            "anterior* previa* previo* arriba sistema inicial* acima originales originais",
        ],
    ),
    pattern(
        OVERRIDE,
        0.65,
        4,
        &[
            "ignora ignore olvida olvide esqueca desconsidere",
            "todas tus sus todos suas",
            "instruccion* reglas indicacion* instruco* regras restriccion*",
        ],
    ),
    pattern(
        REVEAL,
        0.65,
        6,
        &[
            "muestra* revela* imprime dime repite mostre revele mostra diga",
            "prompt instruccion* mensaje instruco* mensagem indicacion*",
            "sistema oculta* ocultas secret* inicial* interno*",
        ],
    ),
    // Italian.
    pattern(
        OVERRIDE,
        0.7,
        5,
        &[
            "ignora ignorare ignorate dimentica dimenticate trascura",
            "istruzion* regol* direttiv* comand* indicazion*",
            "precedent* sopra iniziali sistema anterior*",
        ],
    ),
    pattern(
        REVEAL,
        0.65,
        6,
        &["mostra mostrami rivela stampa ripeti dimmi", "prompt istruzion* messaggio", "sistema nascost* segret* inizial* intern*"],
    ),
    // Dutch.
    pattern(
        OVERRIDE,
        0.7,
        5,
        &["negeer vergeet", "vorige eerdere bovenstaande alle je jouw voorgaande", "instructie* regels opdracht* prompt* richtlijn*"],
    ),
    // Polish.
    pattern(
        OVERRIDE,
        0.7,
        5,
        &["zignoruj ignoruj zapomnij pomin", "poprzedni* wczesniejsz* wszystki* powyzsz* swoje", "instrukcj* polece* zasad* regul*"],
    ),
    // Turkish.
    pattern(OVERRIDE, 0.7, 4, &["onceki yukaridaki tum butun", "talimat* komut* kural*", "yoksay* unut* goz gormezden dikkate"]),
    // Russian.
    pattern(
        OVERRIDE,
        0.7,
        5,
        &[
            "игнорируй* игнорировать проигнорируй* забудь* пренебрег* отбрось*",
            "предыдущ* прежн* все всех выше* свои системн* прошл*",
            "инструкци* указани* правил* команд* промпт* ограничени*",
        ],
    ),
    pattern(
        REVEAL,
        0.65,
        5,
        &[
            "покажи* выведи* раскрой* напечатай* скажи* повтори*",
            "системн* скрыт* секретн* исходн*",
            "промпт* инструкци* сообщени* подсказк*",
        ],
    ),
    // Arabic.
    pattern(
        OVERRIDE,
        0.7,
        4,
        &["تجاهل تجاهلي انس انسى اهمل", "التعليمات الاوامر القواعد تعليمات تعليماتك التوجيهات", "السابق* اعلاه الاصلية النظام"],
    ),
    // Hindi.
    pattern(OVERRIDE, 0.7, 5, &["पिछले पिछली सभी उपरोक्त पहले", "निर्देश* आदेश* नियम*", "अनदेखा भूल* नजरअंदाज नज़रअंदाज अनदेखी"]),
    // Chinese.
    pattern(
        OVERRIDE,
        0.7,
        8,
        &[
            "忽略 无视 忘记 忘掉 忽視 無視 不要理会 不要遵守 抛开 别管",
            "之前 以上 上面 前面 所有 先前 系统 你的 全部 上述 系統 一切",
            "指令 指示 提示 规则 命令 设定 限制 要求 規則 設定",
        ],
    ),
    pattern(
        REVEAL,
        0.65,
        8,
        &["输出 显示 告诉 泄露 透露 打印 重复 展示 说出 輸出 顯示 公开", "系统 隐藏 初始 内部 系統 隱藏", "提示 指令 设定 prompt"],
    ),
    // Japanese.
    pattern(
        OVERRIDE,
        0.7,
        9,
        &["以前 これまで 上記 前の すべて 今まで 全て 上の", "指示 命令 指令 ルール プロンプト 制約", "無視 忘れ 従わな"],
    ),
    pattern(REVEAL, 0.65, 9, &["システム 隠された 内部", "プロンプト 指示 メッセージ", "表示 教え 出力 見せ 開示"]),
    // Korean.
    pattern(OVERRIDE, 0.7, 9, &["이전 위의 앞의 모든 지금까지 기존", "지시 명령 규칙 프롬프트 지침", "무시 잊어 따르지"]),
    pattern(REVEAL, 0.65, 9, &["시스템 숨겨진", "프롬프트 메시지 지침", "보여 출력 알려 공개"]),
];

/// Signs of a conversation's wire format, which a text should not bring: lower case.
pub(crate) const MARKS: [(&str, f64); 16] = [
    ("<|im_start|>", 0.7),
    ("<|im_end|>", 0.6),
    ("<|system|>", 0.7),
    ("<|assistant|>", 0.6),
    ("<|endoftext|>", 0.6),
    ("<|start_header_id|>", 0.7),
    ("<|eot_id|>", 0.6),
    ("[inst]", 0.45),
    ("[/inst]", 0.45),
    ("<<sys>>", 0.7),
    ("<start_of_turn>", 0.6),
    ("[system](#", 0.6),
    ("### system:", 0.55),
    ("\n\nassistant:", 0.3),
    ("\nsystem:", 0.35),
    ("</system>", 0.4),
];
