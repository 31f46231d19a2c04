//! Texts with places for what stands in a row: `"{ward}"`, `"case-{no}"`, `"{row.id}"`.

use super::row::RowRefusal;
use super::value::Context;

/// A text made of pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Stands as it is.
    Text(String),
    /// What stands in a column.
    Column(String),
    /// The id of the row.
    RowId,
    /// A value that the mapping defines in `[values]`.
    Value(String),
}

impl Template {
    /// What stands in one column.
    pub fn column(name: &str) -> Template {
        Template(vec![Piece::Column(name.to_owned())])
    }

    /// Reads `{…}` as a place and `{{`, `}}` as braces.
    ///
    /// # Errors
    /// What is wrong with the braces.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let from = &rest[at..];
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                plain.push_str(&from[..1]);
                rest = after;
                continue;
            }
            let inside = from
                .strip_prefix('{')
                .and_then(|inside| inside.split_once('}'));
            let Some((name, after)) = inside.filter(|(name, _)| !name.trim().is_empty()) else {
                return Err(format!(
                    "\"{text}\" has a single brace: a place is written {{column}}, a brace {{{{ or }}}}"
                ));
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            let name = name.trim();
            pieces.push(match name.strip_prefix("value.") {
                Some(value) => Piece::Value(value.to_owned()),
                None if name == "row.id" => Piece::RowId,
                None => Piece::Column(name.to_owned()),
            });
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// The pieces.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The text, where it is the same for every row.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text for a row. Nothing where it has places and all of them are empty.
    pub fn fill(&self, field: &str, context: &Context<'_>) -> Result<String, RowRefusal> {
        if let [Piece::Column(column)] = self.0.as_slice() {
            return Ok(context.row.get(column).to_owned());
        }
        let (mut text, mut places, mut filled) = (String::new(), 0, 0);
        for piece in &self.0 {
            let before = text.len();
            match piece {
                Piece::Text(plain) => {
                    text.push_str(plain);
                    continue;
                }
                Piece::Column(column) => text.push_str(context.row.get(column)),
                Piece::RowId => text.push_str(context.row_id),
                Piece::Value(name) => text.push_str(&context.value(field, name)?),
            }
            places += 1;
            filled += usize::from(text.len() > before);
        }
        if places > 0 && filled == 0 {
            text.clear();
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_places_and_doubled_braces_are_braces() {
        let pieces = |text: &str| Template::parse(text).map(|template| template.0);
        assert_eq!(
            pieces("a {no}-{row.id}{value.ward} {{x}}"),
            Ok(vec![
                Piece::Text("a ".to_owned()),
                Piece::Column("no".to_owned()),
                Piece::Text("-".to_owned()),
                Piece::RowId,
                Piece::Value("ward".to_owned()),
                Piece::Text(" {x}".to_owned()),
            ])
        );
        for broken in ["{no", "no}", "{}", "a { } b"] {
            assert!(pieces(broken).is_err(), "{broken}");
        }
        assert_eq!(Template::parse("06A").unwrap().constant(), Some("06A"));
        assert_eq!(Template::parse("{no}").unwrap().constant(), None);
    }
}
