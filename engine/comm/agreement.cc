#include "engine/comm/agreement.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace lockstep::inline v0_1 {
namespace {

struct Record {
  int64_t code = 0;
  int64_t length = 0;
};

// Texts of the lengths that all ranks know.
Result<std::vector<std::string>> GatherKnown(Communicator& communicator, std::string_view mine,
                                             const std::vector<Record>& records) {
  size_t longest = 0;
  for (const Record& one : records) longest = std::max(longest, static_cast<size_t>(one.length));
  std::string padded(mine);
  padded.resize(longest);
  std::string all(longest * records.size(), '\0');
  if (longest > 0) {
    LOCKSTEP_TRY(communicator.AllGather(std::as_bytes(std::span(padded)),
                                        std::as_writable_bytes(std::span(all))));
  }
  std::vector<std::string> texts;
  for (size_t r = 0; r < records.size(); ++r)
    texts.push_back(all.substr(r * longest, static_cast<size_t>(records[r].length)));
  return texts;
}

}  // namespace

Status Agree(Communicator& communicator, const Status& mine) {
  if (communicator.size() == 1) return mine;
  const Record record{.code = static_cast<int64_t>(mine.code()),
                      .length = static_cast<int64_t>(mine.message().size())};
  const Result<std::vector<Record>> records = GatherAll(communicator, std::span(&record, 1));
  if (!records.ok()) return mine.ok() ? records.status() : mine;
  const auto is_ok = [](const Record& one) { return static_cast<Code>(one.code) == Code::kOk; };
  const auto first = std::find_if_not(records->begin(), records->end(), is_ok);
  if (first == records->end()) return Status::Ok();
  const Result<std::vector<std::string>> texts =
      GatherKnown(communicator, mine.message(), *records);
  if (!texts.ok()) return mine.ok() ? texts.status() : mine;
  const auto rank = static_cast<size_t>(first - records->begin());
  const std::string& text = (*texts)[rank];
  const bool alike = std::none_of(records->begin(), records->end(), is_ok) &&
                     std::all_of(texts->begin(), texts->end(),
                                 [&](const std::string& other) { return other == text; });
  const auto code = static_cast<Code>(first->code);
  return alike ? Status(code, text) : Status(code, text).At("rank " + std::to_string(rank));
}

Result<std::vector<std::string>> GatherTexts(Communicator& communicator, std::string_view mine) {
  const Record record{.length = static_cast<int64_t>(mine.size())};
  LOCKSTEP_TRY_ASSIGN(const std::vector<Record> records,
                      GatherAll(communicator, std::span(&record, 1)));
  return GatherKnown(communicator, mine, records);
}

}  // namespace lockstep
