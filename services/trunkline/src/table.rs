//! Tables for people.

/// Rows under a head, columns as wide as their widest cell; numbers keep to the right.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let heading: Vec<String> = head.iter().map(ToString::to_string).collect();
    line(&mut text, &heading, &widths);
    for row in rows {
        line(&mut text, row, &widths);
    }
    text
}

fn line(text: &mut String, cells: &[String], widths: &[usize]) {
    let mut rendered = Vec::with_capacity(cells.len());
    for (cell, &width) in cells.iter().zip(widths) {
        let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
        let numeric = cell.starts_with(|c: char| c.is_ascii_digit()) && cell.parse::<f64>().is_ok();
        rendered.push(if numeric { format!("{gap}{cell}") } else { format!("{cell}{gap}") });
    }
    text.push_str(rendered.join("  ").trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_keep_right() {
        let rows = vec![vec!["a".into(), "7".into()], vec!["long".into(), "42".into()]];
        assert_eq!(render(&["name", "n"], &rows), "name  n\na      7\nlong  42\n");
    }
}
