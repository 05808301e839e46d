#include "ctl/table.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/ascii.h"
#include "ctl/text.h"

namespace sharder::ctl {

namespace {

constexpr std::size_t kGap = 3;  // between columns, as kubectl has it
constexpr std::size_t kIndent = 2;

// What is in a cell may be anybody's text.
std::string shown(const Cell& cell) {
  return cell.text.empty() ? "-" : printable(cell.text);
}

}  // namespace

std::string colored(const std::string& text, Tone tone, const Style& style) {
  if (!style.color || tone == Tone::kPlain) {
    return text;
  }
  const char* const code = tone == Tone::kGood ? "\033[32m" : tone == Tone::kWarn ? "\033[33m" : "\033[31m";
  return code + text + "\033[0m";
}

std::vector<std::size_t> Table::widths(const Style& style) const {
  std::vector<std::size_t> widths(columns_.size(), 0);
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    widths[i] = style.headers ? columns_[i].title.size() : 0;
    for (const std::vector<Cell>& row : rows_) {
      widths[i] = std::max(widths[i], length(shown(row[i])));
    }
  }
  return widths;
}

std::string Table::render(const Style& style) const {
  const std::vector<std::size_t> widths = this->widths(style);
  const std::size_t all = std::accumulate(widths.begin(), widths.end(), kGap * (widths.size() - 1));
  if (style.width && all > *style.width) {
    return render_records(style);
  }
  std::string text;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const Cell& cell = cell_of(i);
      const std::string text_of_cell = shown(cell);
      const std::string padding(widths[i] - length(text_of_cell), ' ');
      const std::string value = colored(text_of_cell, cell.tone, style);
      line += columns_[i].right ? padding + value : value + padding;
      line.append(i + 1 < columns_.size() ? kGap : 0, ' ');
    }
    text.append(trim(line, " ").empty() ? line : line.substr(0, line.find_last_not_of(' ') + 1)).append("\n");
  };
  if (style.headers) {
    std::vector<Cell> titles;
    std::ranges::transform(columns_, std::back_inserter(titles), [](const Column& one) { return Cell(one.title); });
    add_line([&](std::size_t i) -> const Cell& { return titles[i]; });
  }
  for (const std::vector<Cell>& row : rows_) {
    add_line([&](std::size_t i) -> const Cell& { return row[i]; });
  }
  return text;
}

std::string Table::render_records(const Style& style) const {
  std::string text;
  for (const std::vector<Cell>& row : rows_) {
    for (const std::string& line : wrapped(shown(row[0]), *style.width)) {
      text += colored(line, row[0].tone, style) + "\n";
    }
    std::vector<std::pair<std::string, Cell>> facts;
    for (std::size_t i = 1; i < columns_.size(); ++i) {
      facts.emplace_back("  " + to_lower(columns_[i].title), row[i]);
    }
    text += render_facts(facts, style);
  }
  return text;
}

std::string render_facts(const std::vector<std::pair<std::string, Cell>>& facts, const Style& style) {
  std::size_t column = 0;
  for (const auto& [name, cell] : facts) {
    column = std::max(column, length(printable(name)) + 2);
  }
  const std::size_t width = style.width.value_or(SIZE_MAX);
  const bool below = column > width / 2;
  std::string text;
  for (const auto& [name, cell] : facts) {
    std::string line = printable(name) + ":";
    const std::size_t start = below ? std::min(name.find_first_not_of(' ') + 2 * kIndent, width / 2) : column;
    if (below && line.size() + 1 + length(shown(cell)) <= width) {
      text += line + " " + colored(shown(cell), cell.tone, style) + "\n";
      continue;
    }
    if (below) {
      text += line + "\n";
      line.clear();
    }
    for (const std::string& part : wrapped(shown(cell), width - start)) {
      line.resize(std::max(line.size(), start), ' ');
      text += line + colored(part, cell.tone, style) + "\n";
      line.clear();
    }
  }
  return text;
}

}  // namespace sharder::ctl
