#include "tools/scale/network_probe.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tools/scale/statistics.h"

namespace lockstep::scale {
namespace {

Status Send(Exchange& exchange) {
  LOCKSTEP_TRY(exchange.Start());
  return exchange.Wait();
}

}  // namespace

Result<double> PingPong(Communicator& communicator, int64_t bytes, int warm_up, int iterations) {
  const int rank = communicator.rank(), last = communicator.size() - 1;
  if (last < 1) return Status::Invalid("a message needs two ranks");
  std::vector<std::byte> out(static_cast<size_t>(bytes)), in(out.size());
  const auto book = [&](int from, int to) {
    std::vector<Outgoing> outgoing;
    std::vector<Incoming> incoming;
    if (rank == from) outgoing.push_back({to, out});
    if (rank == to) incoming.push_back({from, in});
    return communicator.Book("ping-pong", std::move(outgoing), std::move(incoming));
  };
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Exchange> there, book(0, last));
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Exchange> back, book(last, 0));
  std::vector<double> seconds;
  for (int i = 0; i < warm_up + iterations && (rank == 0 || rank == last); ++i) {
    const auto start = std::chrono::steady_clock::now();
    LOCKSTEP_TRY(Send(*there));
    LOCKSTEP_TRY(Send(*back));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i >= warm_up) seconds.push_back(taken.count() / 2.0);
  }
  double median = MedianOf(seconds);
  LOCKSTEP_TRY(communicator.Broadcast(std::as_writable_bytes(std::span(&median, 1)), 0));
  return median;
}

Result<NetworkCost> MeasureNetwork(Communicator& communicator) {
  constexpr int64_t kLarge = int64_t{4} << 20;
  LOCKSTEP_TRY_ASSIGN(const double small, PingPong(communicator, 8, 20, 200));
  LOCKSTEP_TRY_ASSIGN(const double large, PingPong(communicator, kLarge, 3, 15));
  const double moved = large > small ? large - small : large;
  return NetworkCost{
      .latency_seconds = small,
      .bytes_per_second = static_cast<double>(kLarge) / moved,
      .source = "measured between 2 of " + std::to_string(communicator.size()) + " ranks"};
}

}  // namespace lockstep::scale
