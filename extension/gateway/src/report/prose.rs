//! A model's words as HTML: its Markdown, without anything that leads out of the page or was HTML already.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use super::chart::is_shown;

/// Longest text that is taken for Markdown, in bytes.
pub(super) const MOST: usize = 64 << 10;

/// HTML of a text in Markdown (CommonMark, tables). What is HTML in it is text; of links and images their words stay.
pub(super) fn html(markdown: &str) -> String {
    let clean = shown(markdown);
    let events = Parser::new_ext(&clean, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH).filter_map(|event| match event {
        // Its entities are characters here.
        Event::Html(text) | Event::InlineHtml(text) | Event::Text(text) => Some(Event::Text(shown(&text).into())),
        // A heading of the page is ours, and its anchors too.
        Event::Start(Tag::Heading { .. }) => {
            Some(Event::Start(Tag::Heading { level: pulldown_cmark::HeadingLevel::H4, id: None, classes: Vec::new(), attrs: Vec::new() }))
        }
        Event::End(TagEnd::Heading(_)) => Some(Event::End(TagEnd::Heading(pulldown_cmark::HeadingLevel::H4))),
        // Its language would become a class.
        Event::Start(Tag::CodeBlock(_)) => Some(Event::Start(Tag::CodeBlock(pulldown_cmark::CodeBlockKind::Indented))),
        Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::HtmlBlock)
        | Event::End(TagEnd::Link | TagEnd::Image | TagEnd::HtmlBlock) => None,
        event => Some(event),
    });
    let mut page = String::new();
    html::push_html(&mut page, events);
    page
}

fn shown(text: &str) -> String {
    text.chars().map(|c| if is_shown(c) || matches!(c, '\n' | '\t') { c } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_rendered() {
        let page = html("# Sales\n\nThey **rise**:\n\n- a\n- b\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n```sql\nSELECT 1 < 2\n```");
        for part in ["<h4>Sales</h4>", "<strong>rise</strong>", "<li>a</li>", "<td>1</td>", "<pre><code>SELECT 1 &lt; 2\n</code></pre>"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn nothing_of_it_is_a_tag_or_leads_away() {
        for text in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "[click](javascript:alert(1))",
            "[click](https://evil.example/?q=1 \"x\")",
            "![pixel](https://evil.example/p.png)",
            "<https://evil.example/>",
            "<javascript:alert(1)>",
            "</style></svg>]]><script src=//evil.example>",
            "```\"><script>\nx\n```",
            "[a]: javascript:alert(1)\n\n[a]",
            "# x {#id onclick=alert(1)}",
            "| <b onclick=x> |\n|---|\n| <svg/onload=alert(1)> |",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "<!-- --><![CDATA[<script>]]>",
        ] {
            let page = html(text);
            for bad in ["<script", "<img", "<svg", "<a ", "<a>", "href", "<b ", "src=\"", "<!--", "<iframe", "class="] {
                assert!(!page.contains(bad), "{text}: {page}");
            }
        }
    }

    #[test]
    fn what_cannot_be_shown_is_not_spelt_by_an_entity_either() {
        let page = html("a\u{1}b &#1;&#x7f;&#x202e; c `&#1;`");
        assert!(page.chars().all(|c| is_shown(c) || c == '\n'), "{page:?}");
    }

    #[test]
    fn hostile_texts_end() {
        for text in [
            "[".repeat(60_000),
            "*_".repeat(30_000),
            "> ".repeat(30_000),
            "<".repeat(60_000),
            "`".repeat(60_000),
            "| ".repeat(30_000),
            "- ".repeat(2000),
        ] {
            let _ = html(&text);
        }
    }
}
