//! Tables for people: rows of cells in columns. Used by whatever prints one.

/// Each column is as wide as its widest cell.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Text from outside, without what would move a terminal's cursor.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let row = |cells: [&str; 3]| cells.map(String::from);
        let text = columns(&[row(["ID", "STATE", "X"]), row(["1", "started", ""]), row(["12", "ü", "y"])]);
        assert_eq!(text, "ID  STATE    X\n1   started\n12  ü        y\n");
        assert_eq!(printable("a\u{1b}[31m"), "a?[31m");
    }
}
