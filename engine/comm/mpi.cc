// The only file that knows MPI. What is sent again and again is persistent requests; collectives
// are those that do not block, so that who waits can look at the time and say who is late.
//
// Two duplicates of the communicator that is handed in. On one everything travels; its tags are
// counted for each pair of ranks in the order of Book, so that both number their messages alike
// without talking. On the other, who waits says so (notices.h).
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include "engine/comm/mpi.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/comm/mpi_launcher.h"
#include "engine/comm/mpi_pieces.h"
#include "engine/comm/neighbours.h"
#include "engine/comm/notices.h"
#include "engine/comm/patience.h"
#include "engine/comm/rank_names.h"
#include "engine/comm/rest.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr size_t kMostBytes = size_t{1} << 30;  // counts of MPI are ints

Status ErrorOf(int code, const std::string& what) {
  char text[MPI_MAX_ERROR_STRING + 1] = "";
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS)
    return Status::Io(what + ": MPI error " + std::to_string(code));
  std::string line(text, static_cast<size_t>(length));
  std::replace(line.begin(), line.end(), '\n', ' ');
  return Status::Io(what + ": " + line);
}

bool HasEnded() {  // by the host program, too early
  int ended = 0;
  return MPI_Finalized(&ended) != MPI_SUCCESS || ended != 0;
}

#define LOCKSTEP_MPI_TRY(call)                                                              \
  do {                                                                                      \
    if (const int code_ = (call); code_ != MPI_SUCCESS) return Fail(ErrorOf(code_, #call)); \
  } while (false)

// What notices travel on (notices.h). Errors are of no interest: what is waited for will say them.
class NoticeWire {
 public:
  NoticeWire(MPI_Comm comm, int size) : comm_(comm), sends_(static_cast<size_t>(size)) {
    std::fill(sends_.begin(), sends_.end(), MPI_REQUEST_NULL);
  }
  NoticeWire(NoticeWire&&) = default;
  ~NoticeWire() {
    for (MPI_Request& send : sends_) {
      if (send != MPI_REQUEST_NULL) MPI_Request_free(&send);
    }
  }

  bool Hear(int* rank, bool* waits) {
    int there = 0;
    MPI_Status status;
    char word = 0;
    if (MPI_Iprobe(MPI_ANY_SOURCE, 0, comm_, &there, &status) != MPI_SUCCESS || !there ||
        MPI_Recv(&word, 1, MPI_CHAR, status.MPI_SOURCE, 0, comm_, MPI_STATUS_IGNORE) !=
            MPI_SUCCESS) {
      return false;
    }
    *rank = status.MPI_SOURCE;
    *waits = word != 0;
    return true;
  }
  // A rank that has not taken the last one (it stands still, maybe) misses this one.
  void Tell(int rank, bool waits) {
    static constexpr char kWords[] = {0, 1};
    MPI_Request& send = sends_[static_cast<size_t>(rank)];
    int gone = 1;
    if (send != MPI_REQUEST_NULL) MPI_Test(&send, &gone, MPI_STATUS_IGNORE);
    if (gone) MPI_Isend(&kWords[waits ? 1 : 0], 1, MPI_CHAR, rank, 0, comm_, &send);
  }

 private:
  MPI_Comm comm_;
  std::vector<MPI_Request> sends_;
};

class MpiCommunicator final : public Communicator {
 public:
  static Result<std::unique_ptr<Communicator>> Make(MPI_Comm of, size_t most_bytes) {
    auto made = std::make_unique<MpiCommunicator>(most_bytes);
    LOCKSTEP_TRY(made->Duplicate(of));
    return std::unique_ptr<Communicator>(std::move(made));
  }
  explicit MpiCommunicator(size_t most_bytes) : most_bytes_(most_bytes) {}
  ~MpiCommunicator() override {
    if (failed_ || HasEnded()) {
      static_cast<void>(notices_.release());
      return;
    }
    notices_.reset();
    for (MPI_Comm* comm : {&messages_, &told_}) {
      if (*comm != MPI_COMM_NULL) MPI_Comm_free(comm);
    }
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  MPI_Comm messages() const { return messages_; }
  bool failed() const { return failed_; }

  Result<std::unique_ptr<Exchange>> Book(std::string what, std::vector<Outgoing> outgoing,
                                         std::vector<Incoming> incoming) override;
  Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  Status Broadcast(std::span<std::byte> data, int root) override;

 private:
  class Messages;

  Status Fail(Status status) {
    failed_ = true;  // nothing more can be expected
    return status;
  }
  Status Duplicate(MPI_Comm of);
  Result<int> NextTag(std::vector<int>& tags, int peer);
  // A collective that has been started, until it has ended.
  Status Finish(MPI_Request* request, const char* what);
  Status GatherPiece(const void* mine, std::byte* all, size_t stride, size_t bytes);

  // Looks until done() (a Result<bool>) is true; from() says what is waited for, and from whom.
  template <class Done, class From>
  Status Until(const Done& done, const From& from) {
    Patience patience(watch());
    const double told_after = 0.5 * patience.seconds_left();
    Rest rest;
    Status status;
    for (;;) {
      const Result<bool> ended = done();
      if (!(status = ended.status()).ok() || *ended) break;
      const double waited = patience.seconds();
      rest.Take(waited);
      if (waited < Rest::kLong || size_ == 1) continue;
      if (const int ended = neighbours_->Ended(); ended >= 0) {
        status = Status::Io(RankNames({&ended, 1}) + " has ended, while rank " +
                            std::to_string(rank_) + " waited for " + from());
        break;
      }
      notices_->Wait(waited, told_after);
      if (!(status = patience.Check(from)).ok()) break;
    }
    notices_->GoOn();
    waited_seconds_ += patience.seconds();
    return status.ok() ? status : Fail(std::move(status));
  }

  const size_t most_bytes_;
  MPI_Comm messages_ = MPI_COMM_NULL, told_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1, largest_tag_ = 32767;
  std::vector<int> tags_to_, tags_from_;  // by rank
  std::unique_ptr<Notices<NoticeWire>> notices_;
  std::unique_ptr<Neighbours> neighbours_;
  bool failed_ = false;
};

Status MpiCommunicator::Duplicate(MPI_Comm of) {
  for (MPI_Comm* comm : {&messages_, &told_}) {
    LOCKSTEP_MPI_TRY(MPI_Comm_dup(of, comm));
    LOCKSTEP_MPI_TRY(MPI_Comm_set_errhandler(*comm, MPI_ERRORS_RETURN));
  }
  LOCKSTEP_MPI_TRY(MPI_Comm_rank(messages_, &rank_));
  LOCKSTEP_MPI_TRY(MPI_Comm_size(messages_, &size_));
  void* largest = nullptr;
  int known = 0;
  LOCKSTEP_MPI_TRY(MPI_Comm_get_attr(messages_, MPI_TAG_UB, static_cast<void*>(&largest), &known));
  if (known && largest != nullptr) largest_tag_ = *static_cast<const int*>(largest);
  tags_to_ = tags_from_ = std::vector<int>(static_cast<size_t>(size_));
  notices_ = std::make_unique<Notices<NoticeWire>>(NoticeWire(told_, size_), rank_, size_);
  const Neighbours::Place mine = Neighbours::Mine();
  std::vector<Neighbours::Place> places(tags_to_.size());
  LOCKSTEP_MPI_TRY(MPI_Allgather(&mine, sizeof(mine), MPI_BYTE, places.data(), sizeof(mine),
                                 MPI_BYTE, messages_));
  neighbours_ = std::make_unique<Neighbours>(places);
  return Status::Ok();
}

class MpiCommunicator::Messages final : public Exchange {
 public:
  Messages(MpiCommunicator& comm, std::string what) : comm_(comm), what_(std::move(what)) {}
  ~Messages() override {
    if (comm_.failed_ || HasEnded()) return;
    for (size_t i = 0; i < requests_.size(); ++i) {
      if (under_way_ && pieces_[i].comes) MPI_Cancel(&requests_[i]);
      MPI_Request_free(&requests_[i]);
    }
  }

  // Receives first: what is started there need not be kept until it is asked for.
  Status Add(const std::vector<Outgoing>& outgoing, const std::vector<Incoming>& incoming) {
    for (const Incoming& one : incoming)
      LOCKSTEP_TRY(AddOne(one.from, one.bytes.data(), one.bytes.size(), true));
    for (const Outgoing& one : outgoing) {
      LOCKSTEP_TRY(
          AddOne(one.to, const_cast<std::byte*>(one.bytes.data()), one.bytes.size(), false));
      sent_ += static_cast<double>(one.bytes.size());
    }
    statuses_.resize(requests_.size());
    return Status::Ok();
  }

  Status Start() override {
    LOCKSTEP_CHECK(!under_way_, what_ + ": started again before it was done");
    if (requests_.empty()) return Status::Ok();
    if (const int code = MPI_Startall(Count(), requests_.data()); code != MPI_SUCCESS)
      return comm_.Fail(ErrorOf(code, what_));
    under_way_ = true;
    comm_.sent_bytes_ += sent_;
    return Status::Ok();
  }

  Result<bool> Done() override {
    if (!under_way_) return true;
    int all = 0;
    const int code = MPI_Testall(Count(), requests_.data(), &all, statuses_.data());
    if (code != MPI_SUCCESS) return comm_.Fail(Explain(code));
    if (!all) return false;
    under_way_ = false;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      // SimGrid's MPI forgets of which message a status was that it found done before.
      if (!pieces_[i].comes || statuses_[i].MPI_SOURCE != pieces_[i].peer) continue;
      int bytes = 0;
      MPI_Get_count(&statuses_[i], MPI_BYTE, &bytes);
      LOCKSTEP_CHECK(bytes == pieces_[i].bytes,
                     what_ + ": rank " + std::to_string(pieces_[i].peer) + " has sent " +
                         std::to_string(bytes) + " bytes where " +
                         std::to_string(pieces_[i].bytes) + " were booked");
    }
    return true;
  }

  Status Wait() override {
    const Result<bool> done = Done();  // most often, when backward hides it
    if (!done.ok() || *done) return done.status();
    return comm_.Until([this] { return Done(); }, [this] { return From(); });
  }

 private:
  struct Piece {
    int peer;
    int bytes;
    bool comes;
  };
  int Count() const { return static_cast<int>(requests_.size()); }

  Status AddOne(int peer, std::byte* data, size_t size, bool comes) {
    LOCKSTEP_CHECK(peer >= 0 && peer < comm_.size_ && peer != comm_.rank_, what_);
    size_t done = 0;
    do {
      const size_t bytes = std::min(size - done, comm_.most_bytes_);
      LOCKSTEP_TRY_ASSIGN(const int tag,
                          comm_.NextTag(comes ? comm_.tags_from_ : comm_.tags_to_, peer));
      MPI_Request request = MPI_REQUEST_NULL;
      const int count = static_cast<int>(bytes);
      const int code =
          comes ? MPI_Recv_init(data + done, count, MPI_BYTE, peer, tag, comm_.messages_, &request)
                : MPI_Send_init(data + done, count, MPI_BYTE, peer, tag, comm_.messages_, &request);
      if (code != MPI_SUCCESS) return comm_.Fail(ErrorOf(code, what_));
      requests_.push_back(request);
      pieces_.push_back({.peer = peer, .bytes = count, .comes = comes});
      done += bytes;
    } while (done < size);
    return Status::Ok();
  }

  // Which message MPI has failed at.
  Status Explain(int code) {
    for (size_t i = 0; i < statuses_.size() && code == MPI_ERR_IN_STATUS; ++i) {
      const int error = statuses_[i].MPI_ERROR;
      if (error == MPI_SUCCESS || error == MPI_ERR_PENDING) continue;
      return ErrorOf(error, what_ + (pieces_[i].comes ? " from rank " : " to rank ") +
                                std::to_string(pieces_[i].peer));
    }
    return ErrorOf(code, what_);
  }

  // The ranks whose messages have not come; where all have, those that have not taken theirs.
  std::string From() {
    std::vector<int> ranks;
    for (const bool comes : {true, false}) {
      for (size_t i = 0; i < requests_.size() && under_way_; ++i) {
        int there = 0;
        if (pieces_[i].comes != comes ||
            MPI_Request_get_status(requests_[i], &there, MPI_STATUS_IGNORE) != MPI_SUCCESS || there)
          continue;
        if (std::find(ranks.begin(), ranks.end(), pieces_[i].peer) == ranks.end())
          ranks.push_back(pieces_[i].peer);
      }
      if (ranks.empty()) continue;
      std::string text = what_ + (comes ? " from " : " to ") + RankNames(ranks);
      const std::vector<int> late = comm_.notices_->Late();
      // One that waits too is not the cause.
      if (!late.empty() && std::all_of(ranks.begin(), ranks.end(),
                                       [&](int rank) { return comm_.notices_->Waits(rank); }))
        text += ", waiting too; not waiting: " + RankNames(late);
      return text;
    }
    return what_;
  }

  MpiCommunicator& comm_;
  const std::string what_;
  std::vector<MPI_Request> requests_;
  std::vector<Piece> pieces_;  // of each request
  std::vector<MPI_Status> statuses_;
  double sent_ = 0.0;
  bool under_way_ = false;
};

Result<int> MpiCommunicator::NextTag(std::vector<int>& tags, int peer) {
  int& next = tags[static_cast<size_t>(peer)];
  if (next == largest_tag_) {
    return Fail(Status::Invalid("more than " + std::to_string(largest_tag_) +
                                " messages between two ranks, for which this MPI has no numbers"));
  }
  return next++;
}

Result<std::unique_ptr<Exchange>> MpiCommunicator::Book(std::string what,
                                                        std::vector<Outgoing> outgoing,
                                                        std::vector<Incoming> incoming) {
  auto messages = std::make_unique<Messages>(*this, std::move(what));
  LOCKSTEP_TRY(messages->Add(outgoing, incoming));
  return std::unique_ptr<Exchange>(std::move(messages));
}

Status MpiCommunicator::Finish(MPI_Request* request, const char* what) {
  const auto done = [&]() -> Result<bool> {
    int ended = 0;
    LOCKSTEP_MPI_TRY(MPI_Test(request, &ended, MPI_STATUS_IGNORE));
    return ended != 0;
  };
  return Until(done, [&] {
    const std::vector<int> late = notices_->Late();
    return late.empty() ? std::string(what) + ", though all ranks wait: they call different things"
                        : what + (" from " + RankNames(late));
  });
}

// all[r * stride ...] = rank r's `mine`.
Status MpiCommunicator::GatherPiece(const void* mine, std::byte* all, size_t stride, size_t bytes) {
  const auto count = static_cast<int>(bytes);
  MPI_Request request = MPI_REQUEST_NULL;
  if (stride == bytes) {
    LOCKSTEP_MPI_TRY(
        MPI_Iallgather(mine, count, MPI_BYTE, all, count, MPI_BYTE, messages_, &request));
    return Finish(&request, "all to meet");
  }
  MPI_Datatype row = MPI_DATATYPE_NULL, spaced = MPI_DATATYPE_NULL;
  LOCKSTEP_MPI_TRY(MPI_Type_contiguous(count, MPI_BYTE, &row));
  LOCKSTEP_MPI_TRY(MPI_Type_create_resized(row, 0, static_cast<MPI_Aint>(stride), &spaced));
  LOCKSTEP_MPI_TRY(MPI_Type_commit(&spaced));
  LOCKSTEP_MPI_TRY(MPI_Iallgather(mine, count, MPI_BYTE, all, 1, spaced, messages_, &request));
  const Status status = Finish(&request, "all to meet");
  MPI_Type_free(&spaced);
  MPI_Type_free(&row);
  return status;
}

Status MpiCommunicator::AllGather(std::span<const std::byte> mine, std::span<std::byte> all) {
  const auto ranks = static_cast<size_t>(size_);
  LOCKSTEP_CHECK_EQ(all.size(), mine.size() * ranks);
  sent_bytes_ += static_cast<double>(mine.size() * (ranks - 1));
  const bool in_place = mine.data() == all.data() + static_cast<size_t>(rank_) * mine.size();
  // What all bring together is below the limit.
  const size_t most = std::max<size_t>(1, most_bytes_ / ranks);
  size_t begin = 0;
  do {
    const size_t bytes = std::min(most, mine.size() - begin);
    LOCKSTEP_TRY(GatherPiece(in_place ? MPI_IN_PLACE : mine.data() + begin, all.data() + begin,
                             mine.size(), bytes));
    begin += bytes;
  } while (begin < mine.size());
  return Status::Ok();
}

Status MpiCommunicator::Broadcast(std::span<std::byte> data, int root) {
  LOCKSTEP_CHECK(root >= 0 && root < size_, "no such root");
  if (root == rank_)
    sent_bytes_ += static_cast<double>(data.size() * (static_cast<size_t>(size_) - 1));
  size_t begin = 0;
  do {
    const size_t bytes = std::min(most_bytes_, data.size() - begin);
    MPI_Request request = MPI_REQUEST_NULL;
    LOCKSTEP_MPI_TRY(MPI_Ibcast(data.data() + begin, static_cast<int>(bytes), MPI_BYTE, root,
                                messages_, &request));
    LOCKSTEP_TRY(Finish(&request, "a broadcast"));
    begin += bytes;
  } while (begin < data.size());
  return Status::Ok();
}

std::string LibraryName() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING + 1] = "";
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "an unknown MPI";
  return MpiVersion(std::string(text, static_cast<size_t>(length)));
}

class Session final : public MpiSession {
 public:
  explicit Session(std::unique_ptr<Communicator> world)
      : world_(std::move(world)), exceptions_(std::uncaught_exceptions()) {}
  ~Session() override {
    if (static_cast<MpiCommunicator&>(*world_).failed() ||
        std::uncaught_exceptions() > exceptions_) {
      Abort("rank " + std::to_string(world_->rank()) + " gives up, and ends all ranks", 1);
    }
    MPI_Barrier(MPI_COMM_WORLD);  // after which every notice has come
    world_.reset();
    MPI_Finalize();
  }
  Communicator& communicator() override { return *world_; }
  std::string library() const override { return LibraryName(); }
  [[noreturn]] void Abort(const std::string& message, int exit_code) override {
    std::fprintf(stderr, "%s\n", message.c_str());
    // A launcher forwards no more of it once it has begun to end the ranks.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 private:
  std::unique_ptr<Communicator> world_;
  const int exceptions_;
};

Status StartMpi() {
  if (HasEnded()) return Status::Invalid("MPI has been finalised in this process");
  int runs = 0;
  MPI_Initialized(&runs);
  if (runs) {
    return Status::Invalid(
        "MPI runs in this process already: hand its communicator in (MakeMpiCommunicator)");
  }
  int threads = MPI_THREAD_SINGLE;
  const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &threads);
  if (code != MPI_SUCCESS) return ErrorOf(code, "MPI_Init_thread");
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const Status fits = CheckLaunch(size, LibraryName());
  if (!fits.ok()) MPI_Finalize();
  return fits;
}

}  // namespace

Result<std::unique_ptr<MpiSession>> MpiSession::Start() {
  LOCKSTEP_TRY(StartMpi());
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<Communicator> world,
                      MpiCommunicator::Make(MPI_COMM_WORLD, kMostBytes));
  return std::unique_ptr<MpiSession>(std::make_unique<Session>(std::move(world)));
}

Result<std::unique_ptr<Communicator>> MakeMpiCommunicator(const void* communicator) {
  int runs = 0, between = 0;
  MPI_Initialized(&runs);
  if (!runs || HasEnded()) return Status::Invalid("MPI does not run: call MPI_Init_thread first");
  const auto* of = static_cast<const MPI_Comm*>(communicator);
  if (of == nullptr || *of == MPI_COMM_NULL)
    return Status::Invalid("no communicator: a pointer to an MPI_Comm is expected");
  if (MPI_Comm_test_inter(*of, &between) != MPI_SUCCESS || between)
    return Status::Invalid("the communicator must be one of one group of ranks");
  int main_thread = 0;
  MPI_Is_thread_main(&main_thread);
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  if (level < MPI_THREAD_SERIALIZED && !main_thread) {
    return Status::Invalid(
        "this is not the thread that called MPI_Init_thread: ask for MPI_THREAD_SERIALIZED there");
  }
  return MpiCommunicator::Make(*of, kMostBytes);
}

Result<std::unique_ptr<Communicator>> MpiInPieces(Communicator& communicator, size_t most_bytes) {
  auto* of = dynamic_cast<MpiCommunicator*>(&communicator);
  LOCKSTEP_CHECK(of != nullptr, "not a communicator over MPI");
  LOCKSTEP_CHECK_GE(most_bytes, size_t{1});
  return MpiCommunicator::Make(of->messages(), most_bytes);
}

}  // namespace lockstep
