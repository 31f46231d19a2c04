//! The first look at the text: is it one statement, of a size that can be planned, that only reads?

use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::extent;
use crate::{Limits, QueryError};

/// The one reading statement in `sql`.
pub(super) fn read_only(
    sql: &str,
    state: &SessionState,
    limits: &Limits,
) -> Result<Statement, QueryError> {
    if sql.len() > limits.max_sql_bytes {
        return Err(QueryError::TooLarge(format!(
            "{} bytes, {} are allowed",
            sql.len(),
            limits.max_sql_bytes
        )));
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|e| QueryError::Syntax(e.to_string()))?;
    let words = tokens
        .iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .count();
    if words > limits.max_sql_tokens {
        return Err(QueryError::TooLarge(format!(
            "{words} words and signs, {} are allowed",
            limits.max_sql_tokens
        )));
    }
    let depth = state.config_options().sql_parser.recursion_limit.get();
    let mut statements = DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .with_recursion_limit(depth)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| match QueryError::from_datafusion(error) {
            QueryError::Syntax(text) if text.contains("recursion limit") => {
                QueryError::TooLarge(format!("nested more than {depth} deep"))
            }
            other => other,
        })?;
    let statement = statements
        .pop_front()
        .ok_or_else(|| QueryError::Syntax("there is no statement".to_owned()))?;
    if !statements.is_empty() {
        return Err(QueryError::Syntax(format!(
            "{} statements were given; ask one at a time",
            statements.len() + 1
        )));
    }
    if let Some(what) = forbidden(&statement) {
        return Err(QueryError::ReadOnly(what));
    }
    if let Some(sql) = planned(&statement) {
        extent::check(sql)?;
    }
    Ok(statement)
}

/// Whether `sql` is one expression that can stand between brackets: a condition, without a name.
///
/// # Errors
/// [`QueryError::Syntax`] with what is wrong.
pub fn check_condition(sql: &str) -> Result<(), QueryError> {
    let expression = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .build()
        .and_then(|mut parser| parser.parse_into_expr())
        .map_err(QueryError::from_datafusion)?;
    match expression.alias {
        None => Ok(()),
        Some(name) => Err(QueryError::Syntax(format!(
            "a condition needs no name, and `{name}` is one"
        ))),
    }
}

/// The part of a statement that is planned.
fn planned(statement: &Statement) -> Option<&ast::Statement> {
    match statement {
        Statement::Statement(sql) => Some(sql),
        Statement::Explain(explain) => planned(&explain.statement),
        _ => None,
    }
}

/// The keyword of a statement that does not only read.
fn forbidden(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Statement(sql) => forbidden_sql(sql),
        Statement::Explain(explain) => forbidden(&explain.statement),
        Statement::CopyTo(_) => Some("COPY".to_owned()),
        Statement::CreateExternalTable(_) => Some("CREATE EXTERNAL TABLE".to_owned()),
        Statement::Reset(_) => Some("RESET".to_owned()),
    }
}

fn forbidden_sql(statement: &ast::Statement) -> Option<String> {
    match statement {
        ast::Statement::Query(query) => forbidden_body(&query.body),
        ast::Statement::Explain { statement, .. } => forbidden_sql(statement),
        ast::Statement::ShowTables { .. }
        | ast::Statement::ShowColumns { .. }
        | ast::Statement::ShowFunctions { .. }
        | ast::Statement::ExplainTable { .. } => None,
        other => Some(first_words(&other.to_string())),
    }
}

fn forbidden_body(body: &ast::SetExpr) -> Option<String> {
    match body {
        ast::SetExpr::Insert(_) => Some("INSERT".to_owned()),
        ast::SetExpr::Update(_) => Some("UPDATE".to_owned()),
        ast::SetExpr::Delete(_) => Some("DELETE".to_owned()),
        ast::SetExpr::Merge(_) => Some("MERGE".to_owned()),
        ast::SetExpr::Select(select) if select.into.is_some() => Some("SELECT INTO".to_owned()),
        _ => None,
    }
}

/// `CREATE TABLE`, `DROP VIEW`, `SET`: what a statement begins with, without names or values.
fn first_words(text: &str) -> String {
    let keyword =
        |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let words: Vec<&str> = text
        .split_whitespace()
        .take(2)
        .take_while(keyword)
        .collect();
    if words.is_empty() {
        "this statement".to_owned()
    } else {
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::check_condition;

    #[test]
    fn a_condition_is_one_expression_that_stays_within_its_brackets() {
        for sql in [
            "events > 3 -- many",
            "a = 1 OR (b = 'x)' AND c IS NULL)",
            "a IN (SELECT b FROM c)",
        ] {
            check_condition(sql).unwrap();
        }
        for sql in ["", "1=1) or (1=1", "a = 1; SELECT 2", "a = 1 AS b", "a ="] {
            assert!(check_condition(sql).is_err(), "{sql}");
        }
    }
}
