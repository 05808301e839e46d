#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace sharder::ctl {

// What a cell says about the world; shown as a color.
enum class Tone { kPlain, kGood, kWarn, kBad };

// Its text may be anybody's: it is shown as printable() makes it.
struct Cell {
  Cell(std::string shown, Tone meaning = Tone::kPlain) : text(std::move(shown)), tone(meaning) {}
  Cell(const char* shown) : text(shown) {}

  std::string text;
  Tone tone = Tone::kPlain;
};

struct Column {
  std::string title;
  bool right = false;  // numbers
};

struct Style {
  std::optional<std::size_t> width = {};  // of a line
  bool headers = true;
  bool color = false;
};

std::string colored(const std::string& text, Tone tone, const Style& style);

// Rows under titles, as kubectl shows them. Where they do not fit, each row becomes a few lines: the first cell, and
// below it a line for each other cell, with its title.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as columns. An empty cell is shown as "-".
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }

  std::string render(const Style& style) const;

 private:
  std::vector<std::size_t> widths(const Style& style) const;
  std::string render_records(const Style& style) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// "name: value" lines under each other; longer values are wrapped below their name's end, or below the name where a
// line is short.
std::string render_facts(const std::vector<std::pair<std::string, Cell>>& facts, const Style& style);

}  // namespace sharder::ctl
