#pragma once

#include <string>
#include <vector>

namespace penstock::ctl {

/// Rows of text in aligned columns, two spaces apart. Columns whose every cell below the heading
/// begins with a digit are aligned to the right.
class Table {
  public:
    explicit Table(std::vector<std::string> headings);
    /// As many cells as there are headings.
    void add(std::vector<std::string> cells);
    /// With the headings, each line ended.
    [[nodiscard]] std::string text() const;

  private:
    std::vector<std::vector<std::string>> rows_;
};

}  // namespace penstock::ctl
