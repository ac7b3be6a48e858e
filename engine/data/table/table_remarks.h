// What is pointed out about the columns of a table, because it may be meant otherwise.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_TABLE_REMARKS_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_TABLE_REMARKS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "engine/data/table/column_evidence.h"
#include "engine/data/table/describe_table.h"

namespace lockstep::inline v0_1 {

// A column as data.types, data.ignore and the like name it.
std::string ColumnKey(const TableText& text, size_t column);
// data.types = ["NAME=type"]
std::string TypeKey(const TableText& text, size_t column, const char* type);

// All values are amounts, if one does not look at the "$" or "%" that all of them have.
bool IsWrapped(const ColumnEvidence& seen);
std::string HowToUnwrap(const ColumnEvidence& seen);

// Borrows all of it. Thread-safety: none of its own is changed.
class TableRemarks {
 public:
  TableRemarks(const TableText& text, const ColumnWishes& wishes,
               const std::vector<ColumnEvidence>& evidence, const TableDescription& description)
      : text_(text), wishes_(wishes), evidence_(evidence), description_(description) {}

  // Each of these says one thing of the columns that it is true of, in their order.
  std::vector<std::string> LeftOut() const;
  std::vector<std::string> Codes() const;
  std::vector<std::string> Times() const;
  std::vector<std::string> Groups() const;
  // The target among them.
  std::vector<std::string> Wrapped() const;
  std::vector<std::string> Cases() const;

 private:
  // of(i) of each column, where that says something.
  template <class Of>
  std::vector<std::string> OfEach(const Of& of) const;
  std::string NameOf(size_t i) const;
  bool IsSaid(size_t i) const;  // by the user, what it is

  const TableText& text_;
  const ColumnWishes& wishes_;
  const std::vector<ColumnEvidence>& evidence_;
  const TableDescription& description_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_TABLE_REMARKS_H_
