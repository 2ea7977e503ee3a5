//! Tables for people, no wider than their terminal.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use rustix::termios::tcgetwinsize;

/// The width of text that goes anywhere but to a terminal.
const USUAL: usize = 80;
/// No table is narrower.
const LEAST: usize = 40;

/// An empty table whose columns after the first `words` are numbers. A line break in a heading helps it to be narrow.
pub(crate) fn table(head: &[&str], words: usize) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_header(head);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The table for standard output.
pub(crate) fn fitted(table: &Table) -> String {
    fit(table, columns())
}

/// With lines between the columns if these have room; else without, and if that is not enough with cells of several lines.
pub(crate) fn fit(table: &Table, columns: usize) -> String {
    let roomy = table.to_string();
    if width(&roomy) <= columns {
        return roomy;
    }
    let mut tight = table.clone();
    tight
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(columns).unwrap_or(u16::MAX));
    let last = tight.column_count().saturating_sub(1);
    for (index, column) in tight.column_iter_mut().enumerate() {
        // The preset has a space between columns; padding is for the borders.
        column.set_padding((u16::from(index == 0), u16::from(index == last)));
    }
    tight.to_string()
}

/// Every character in these tables takes one column.
fn width(text: &str) -> usize {
    let lines = text.lines().map(|line| line.chars().count());
    lines.max().unwrap_or(0)
}

/// The columns of the terminal that standard output is; else what COLUMNS in the environment says, else 80.
fn columns() -> usize {
    let terminal = tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|&columns| columns > 0);
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(said).unwrap_or(USUAL).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = table(&["what it is", "some\ncount", "number", "another"], 1);
        for row in 0..3 {
            table.add_row([
                format!("a piece of work, number {row}"),
                "1234567".to_owned(),
                "7.50".to_owned(),
                "0".to_owned(),
            ]);
        }
        table
    }

    #[test]
    fn a_table_with_room_has_lines_between_its_columns() {
        let text = fit(&sample(), 200);
        assert!(text.contains('┆'), "{text}");
    }

    #[test]
    fn a_table_is_as_narrow_as_it_must_be() {
        let roomy = width(&fit(&sample(), 200));
        for columns in LEAST..roomy {
            let text = fit(&sample(), columns);
            assert!(width(&text) <= columns, "{columns}:\n{text}");
            assert!(text.contains("1234567"), "{columns}:\n{text}");
        }
    }
}
