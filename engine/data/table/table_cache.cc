#include "engine/data/table/table_cache.h"

#include <sys/stat.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "engine/io/mapped_file.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr std::string_view kMagic = "LKSTABLE";
constexpr uint64_t kVersion = 2;
constexpr size_t kHead = 64, kTail = 32;
constexpr int kTries = 5;
constexpr auto kPoll = std::chrono::milliseconds(20);

void PutNumber(uint64_t number, std::string& out) {
  for (int i = 0; i < 8; ++i) out += static_cast<char>(number >> (8 * i) & 255);
}
void PutText(std::string_view text, std::string& out) {
  PutNumber(text.size(), out);
  out += text;
}
uint64_t NumberAt(std::string_view bytes, size_t at) {
  uint64_t number = 0;
  for (size_t i = 0; i < 8; ++i)
    number |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  return number;
}

// Takes numbers and texts off the beginning; once something is not there, nothing is any more.
class Taker {
 public:
  explicit Taker(std::string_view bytes) : bytes_(bytes) {}
  uint64_t Number() {
    if (!ok_ || bytes_.size() < 8) {
      ok_ = false;
      return 0;
    }
    const uint64_t number = NumberAt(bytes_, 0);
    bytes_.remove_prefix(8);
    return number;
  }
  std::string Text() {
    const uint64_t size = Number();
    if (!ok_ || size > bytes_.size()) {
      ok_ = false;
      return "";
    }
    std::string text(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return text;
  }
  bool done() const { return ok_ && bytes_.empty(); }
  bool ok() const { return ok_; }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

void PutColumn(const CsvColumn& column, std::string& out) {
  PutNumber(column.index(), out);
  if (const auto* number = std::get_if<int64_t>(&column)) {
    PutNumber(static_cast<uint64_t>(*number), out);
  } else {
    PutText(std::get<std::string>(column), out);
  }
}
template <class T>
void PutOptional(const std::optional<T>& value, std::string& out) {
  PutNumber(value ? 1 + static_cast<uint64_t>(*value) : 0, out);
}
void PutOptional(const std::optional<CsvColumn>& column, std::string& out) {
  PutNumber(column ? 1 : 0, out);
  if (column) PutColumn(*column, out);
}
void PutTexts(const std::vector<std::string>& texts, std::string& out) {
  PutNumber(texts.size(), out);
  for (const std::string& text : texts) PutText(text, out);
}

// All of the options that changes what is read. A new member must be named here.
std::string KeyOf(const TableOptions& options) {
  const auto& [dialect, target, weight, group, time, ignored, types, task, positive, more_missing,
               on_missing, one_hot, threads, cache, cache_folder, progress] = options;
  const auto& [delimiter, quote, comment, decimal, thousands, header, encoding, doubt_is_data,
               names, missing] = dialect;
  std::string key;
  for (const auto& c : {delimiter, quote, comment, decimal, thousands}) PutOptional(c, key);
  PutOptional(header, key);
  PutOptional(encoding, key);
  PutNumber(doubt_is_data ? 1 : 0, key);
  PutTexts(names, key);
  PutTexts(missing, key);
  for (const auto& column : {target, weight, group, time}) PutOptional(column, key);
  PutNumber(ignored.size(), key);
  for (const CsvColumn& column : ignored) PutColumn(column, key);
  PutNumber(types.size(), key);
  for (const auto& [column, type] : types) {
    PutColumn(column, key);
    PutText(type, key);
  }
  PutOptional(task, key);
  PutText(positive, key);
  PutTexts(more_missing, key);
  PutNumber(static_cast<uint64_t>(on_missing), key);
  PutNumber(static_cast<uint64_t>(one_hot), key);
  PutTexts(UsualMissingTexts(), key);
  (void)threads, (void)cache, (void)cache_folder, (void)progress;  // change nothing
  return key;
}

// The file's size and time of change.
Result<std::string> SourceOf(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return FileError(path, "read", errno);
  std::string source;
  if (!S_ISREG(info.st_mode)) return source;
  PutNumber(static_cast<uint64_t>(info.st_size), source);
  PutNumber(static_cast<uint64_t>(info.st_mtim.tv_sec), source);
  PutNumber(static_cast<uint64_t>(info.st_mtim.tv_nsec), source);
  return source;
}

std::string CopyPath(const std::string& path, const std::string& folder) {
  if (folder.empty()) return path + ".lockstep";
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(fs::absolute(path, error), error);
  const std::string text = whole.empty() ? path : whole.string();
  return folder + "/" + fs::path(path).filename().string() + "." +
         HexOf(Hasher().Add(text).Finish()) + ".lockstep";
}

}  // namespace

// Invalid: it is there and of another file or of other options; Corrupt: it is damaged.
Result<Table> TableCache::Map(const std::string& at) const {
  const auto damaged = [&](const char* what) { return Status::Corrupt(copy_path_ + ": " + what); };
  LOCKSTEP_TRY_ASSIGN(const std::shared_ptr<const MappedFile> file,
                      MappedFile::Open(at, /*jumps=*/true));
  const std::string_view all(reinterpret_cast<const char*>(file->bytes().data()),
                             file->bytes().size());
  if (all.size() < kHead + kTail || !all.starts_with(kMagic) || !all.ends_with(kMagic))
    return damaged("is no complete copy of a table");
  if (NumberAt(all, 8) != kVersion) return Status::Invalid(copy_path_ + ": is of another version");
  const std::string_view tail = all.substr(all.size() - kTail);
  const uint64_t place = NumberAt(tail, 0), size = NumberAt(tail, 8);
  if (place < kHead || place > all.size() - kTail || size != all.size() - kTail - place)
    return damaged("its parts do not lie where it says");
  const std::string_view meaning = all.substr(place, size);
  if (Hasher().Add(meaning).Finish() != NumberAt(tail, 16))
    return damaged("what it says of the records is damaged");
  Taker taker(meaning);
  if (taker.Text() != key_ || taker.Text() != source_)
    return Status::Invalid(copy_path_ + ": was made of another file or with other settings");
  LOCKSTEP_TRY_ASSIGN(TableDescription description, TableDescriptionFrom(taker.Text()));
  Table table{.name = path_, .description = std::move(description), .rows = nullptr};
  table.content = taker.Number();
  table.dropped_rows = static_cast<int64_t>(taker.Number());
  const uint64_t hash = taker.Number();
  const uint64_t record = taker.Number();
  const uint64_t unseen = taker.Number(), remarks = taker.Number();
  if (unseen > meaning.size() || remarks > meaning.size()) return damaged("its counts are wrong");
  for (uint64_t i = 0; i < unseen; ++i)
    table.unseen.push_back(static_cast<int64_t>(taker.Number()));
  for (uint64_t i = 0; i < remarks; ++i) table.remarks.push_back(taker.Text());
  RecordLayout layout = RecordLayout::Of(table.description);
  const std::span<const std::byte> records = file->bytes().subspan(kHead, place - kHead);
  if (!taker.done() || layout.bytes <= 0 || record != static_cast<uint64_t>(layout.bytes) ||
      records.empty() || records.size() % record != 0 || unseen != table.description.columns.size())
    return damaged("its counts are wrong");
  if (Hasher().Add(records).Finish() != hash) return damaged("its records are damaged");
  table.remarks.push_back("read from the binary copy in " + copy_path_);
  table.rows = std::make_shared<const TableRows>(std::move(layout), file, kHead, records.size());
  return table;
}

Result<TableCache> TableCache::Open(const std::string& path, const TableOptions& options) {
  TableCache cache;
  cache.path_ = path;
  cache.key_ = KeyOf(options);
  cache.copy_path_ = CopyPath(path, options.cache_folder);
  LOCKSTEP_TRY_ASSIGN(cache.source_, SourceOf(path));
  if (cache.source_.empty()) {
    cache.remark_ = path + " is no regular file, so no binary copy of it is kept (data.cache)";
    return cache;
  }
  if (!options.cache_folder.empty()) LOCKSTEP_TRY(CreateFolders(options.cache_folder));
  for (int refused = 0;;) {
    Result<Table> table = cache.Map(cache.copy_path_);
    if (table.ok()) {
      cache.file_.reset();
      cache.remark_.clear();
      cache.table_ = std::move(table).value();
      return cache;
    }
    if (table.status().code() == Code::kCorrupt)
      cache.remark_ = table.status().message() + "; it is made anew";
    if (cache.file_) return cache;  // also behind the lock there is none
    Result<AtomicFile> file = AtomicFile::Create(cache.copy_path_);
    if (file.ok()) {
      cache.file_.emplace(std::move(file).value());
      continue;  // another process may have finished it meanwhile
    }
    // Another one that looks at the lock holds it for a moment itself.
    if (!AtomicFile::IsBeingWritten(cache.copy_path_) && ++refused == kTries) {
      cache.remark_ = "no binary copy of the table is kept: " + file.status().message() +
                      " (data.cache_folder)";
      return cache;
    }
    std::this_thread::sleep_for(kPoll);
  }
}

Status TableCache::Append(std::span<const std::byte> records) {
  if (records.empty()) return Status::Ok();
  if (bytes_ == 0) {
    std::string head(kMagic);
    PutNumber(kVersion, head);
    head.resize(kHead);
    LOCKSTEP_TRY(file_->Write(head));
  }
  bytes_ += records.size();
  hasher_.Add(records);
  return file_->Write(records);
}

Status TableCache::Finish(const RecordLayout& layout, Table& table) {
  LOCKSTEP_TRY_ASSIGN(const std::string source, SourceOf(path_));
  if (source != source_)
    return Status::Io(path_ + ": was changed while it was read; read it again");
  std::string meaning;
  PutText(key_, meaning);
  PutText(source_, meaning);
  PutText(ToJson(table.description), meaning);
  PutNumber(table.content, meaning);
  PutNumber(static_cast<uint64_t>(table.dropped_rows), meaning);
  PutNumber(hasher_.Finish(), meaning);
  PutNumber(static_cast<uint64_t>(layout.bytes), meaning);
  PutNumber(table.unseen.size(), meaning);
  PutNumber(table.remarks.size(), meaning);
  for (const int64_t count : table.unseen) PutNumber(static_cast<uint64_t>(count), meaning);
  for (const std::string& remark : table.remarks) PutText(remark, meaning);
  std::string tail;
  PutNumber(kHead + bytes_, tail);
  PutNumber(meaning.size(), tail);
  PutNumber(Hasher().Add(meaning).Finish(), tail);
  tail += kMagic;
  LOCKSTEP_TRY(file_->Write(meaning));
  LOCKSTEP_TRY(file_->Write(tail));
  // Before it has its name: from then on anybody may remove it.
  LOCKSTEP_TRY_ASSIGN(const Table mapped, Map(file_->temporary_path()));
  table.rows = mapped.rows;
  LOCKSTEP_TRY(file_->Commit());
  file_.reset();
  return Status::Ok();
}

}  // namespace lockstep
