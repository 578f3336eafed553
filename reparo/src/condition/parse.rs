//! From text to a condition, by way of sqlparser's expressions.

use sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator, Value};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::compare::Literal;
use super::{Image, Node, Operand, Operator, Reference};

/// Longer texts are refused: nobody types them, and they nest deeply.
const MAX_TEXT: usize = 16 << 10;
const MAX_DEPTH: usize = 64;

pub(super) fn parse(text: &str) -> Result<Node, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("it is longer than {MAX_TEXT} bytes"));
    }
    let dialect = MySqlDialect {};
    let parser = Parser::new(&dialect).with_recursion_limit(MAX_DEPTH).try_with_sql(text);
    let mut parser = parser.map_err(|e| e.to_string())?;
    let expr = parser.parse_expr().map_err(|e| e.to_string())?;
    match parser.peek_token().token {
        Token::EOF => node(&expr, 0),
        rest => Err(format!("{rest} is left over")),
    }
}

fn node(expr: &Expr, depth: usize) -> Result<Node, String> {
    if depth > MAX_DEPTH {
        return Err("it is nested too deeply".to_owned());
    }
    let below = |expr: &Expr| node(expr, depth + 1);
    let negate = |negated: bool, node: Node| if negated { Node::Not(Box::new(node)) } else { node };
    Ok(match expr {
        Expr::Nested(inner) => below(inner)?,
        Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => {
            let nodes = chain(expr, op).into_iter().map(below).collect::<Result<_, _>>()?;
            if *op == BinaryOperator::And { Node::All(nodes) } else { Node::Any(nodes) }
        }
        Expr::BinaryOp { left, op, right } => Node::Compare(operator(op)?, operand(left)?, operand(right)?),
        Expr::UnaryOp { op: UnaryOperator::Not | UnaryOperator::BangNot, expr } => {
            Node::Not(Box::new(below(expr)?))
        }
        Expr::InList { expr, list, negated } => {
            let list = list.iter().map(operand).collect::<Result<_, _>>()?;
            negate(*negated, Node::In(operand(expr)?, list))
        }
        Expr::Between { expr, negated, low, high } => {
            let low = Node::Compare(Operator::GreaterEqual, operand(expr)?, operand(low)?);
            let high = Node::Compare(Operator::LessEqual, operand(expr)?, operand(high)?);
            negate(*negated, Node::All(vec![low, high]))
        }
        Expr::Like { negated, any: false, expr, pattern, escape_char: None } => match operand(pattern)? {
            Operand::Literal(Literal::Text(pattern)) => negate(*negated, Node::Like(operand(expr)?, pattern)),
            _ => return Err(format!("{pattern} is no text to be LIKE")),
        },
        Expr::IsNull(expr) => Node::IsNull(operand(expr)?),
        Expr::IsNotNull(expr) => Node::Not(Box::new(Node::IsNull(operand(expr)?))),
        Expr::IsTrue(expr) => definite(below(expr)?, true),
        Expr::IsFalse(expr) => definite(below(expr)?, false),
        Expr::Value(value) => match &value.value {
            Value::Boolean(truth) => Node::Constant(Some(*truth)),
            Value::Null => Node::Constant(None),
            _ => Node::Truth(operand(expr)?),
        },
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Node::Truth(operand(expr)?),
        other => return Err(format!("{other} is not supported here")),
    })
}

/// `x IS TRUE`, `x IS FALSE`: unknown is neither.
fn definite(node: Node, truth: bool) -> Node {
    let node = if truth { node } else { Node::Not(Box::new(node)) };
    // In a condition, unknown and false mean the same: no match. NOT of it does not, so it is made definite.
    Node::Any(vec![node, Node::Constant(Some(false))])
}

/// The links of `a AND b AND c`, without recursion.
fn chain<'a>(expr: &'a Expr, wanted: &BinaryOperator) -> Vec<&'a Expr> {
    let mut links = Vec::new();
    let mut rest = expr;
    while let Expr::BinaryOp { left, op, right } = rest
        && op == wanted
    {
        links.push(&**right);
        rest = left;
    }
    links.push(rest);
    links.reverse();
    links
}

fn operator(op: &BinaryOperator) -> Result<Operator, String> {
    Ok(match op {
        BinaryOperator::Eq => Operator::Equal,
        BinaryOperator::NotEq => Operator::NotEqual,
        BinaryOperator::Lt => Operator::Less,
        BinaryOperator::LtEq => Operator::LessEqual,
        BinaryOperator::Gt => Operator::Greater,
        BinaryOperator::GtEq => Operator::GreaterEqual,
        BinaryOperator::Spaceship => Operator::Same,
        other => return Err(format!("the operator {other} is not supported here")),
    })
}

fn operand(expr: &Expr) -> Result<Operand, String> {
    let unsupported = || Err(format!("{expr} is neither a column nor a literal"));
    match expr {
        Expr::Nested(inner) if !matches!(**inner, Expr::Nested(_)) => operand(inner),
        Expr::Identifier(name) => Ok(column(Image::Either, name)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [image, name] if image.value.eq_ignore_ascii_case("old") => Ok(column(Image::Old, name)),
            [image, name] if image.value.eq_ignore_ascii_case("new") => Ok(column(Image::New, name)),
            _ => Err(format!("{expr}: only old. and new. may stand before a column")),
        },
        Expr::UnaryOp { op: op @ (UnaryOperator::Minus | UnaryOperator::Plus), expr: inner } => {
            match (operand(inner)?, op) {
                (Operand::Literal(Literal::Number(number)), UnaryOperator::Minus) => {
                    let number = match number.strip_prefix('-') {
                        Some(positive) => positive.to_owned(),
                        None => format!("-{number}"),
                    };
                    Ok(Operand::Literal(Literal::Number(number)))
                }
                (literal @ Operand::Literal(Literal::Number(_)), _) => Ok(literal),
                _ => unsupported(),
            }
        }
        Expr::Value(value) => Ok(Operand::Literal(match &value.value {
            Value::Number(number, _) => Literal::Number(number.clone()),
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Literal::Text(text.clone()),
            Value::HexStringLiteral(digits) => Literal::Bytes(hex(digits)?),
            Value::Boolean(truth) => Literal::Number(u8::from(*truth).to_string()),
            Value::Null => Literal::Null,
            _ => return unsupported(),
        })),
        _ => unsupported(),
    }
}

fn column(image: Image, name: &Ident) -> Operand {
    Operand::Column(Reference { image, name: name.value.clone(), at: usize::MAX })
}

fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let bad = || format!("0x{digits} is no number of whole bytes");
    let nibble = |c: u8| char::from(c).to_digit(16).map(|d| d as u8).ok_or_else(bad);
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Ok(nibble(*high)? << 4 | nibble(*low)?),
        _ => Err(bad()),
    });
    pairs.collect()
}
