#include "penstockctl/table.h"

#include "base/check.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace penstock::ctl {
namespace {

struct Column {
    std::size_t width = 0;
    bool is_number = true;
};

bool begins_with_digit(const std::string& cell) {
    return !cell.empty() && cell.front() >= '0' && cell.front() <= '9';
}

}  // namespace

Table::Table(std::vector<std::string> headings) { rows_.push_back(std::move(headings)); }

void Table::add(std::vector<std::string> cells) {
    PENSTOCK_CHECK(cells.size() == rows_.front().size());
    rows_.push_back(std::move(cells));
}

std::string Table::text() const {
    std::vector<Column> columns(rows_.front().size());
    for (const std::vector<std::string>& row : rows_) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            columns[i].width = std::max(columns[i].width, row[i].size());
            if (&row != &rows_.front() && row[i] != "-" && !begins_with_digit(row[i])) {
                columns[i].is_number = false;
            }
        }
    }
    std::string text;
    for (const std::vector<std::string>& row : rows_) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string padding(columns[i].width - row[i].size(), ' ');
            line += columns[i].is_number ? padding + row[i] : row[i] + padding;
            line += "  ";
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + '\n';
    }
    return text;
}

}  // namespace penstock::ctl
