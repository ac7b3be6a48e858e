// What a process has in its memory.
#ifndef LOCKSTEP_TESTS_HOSTS_MAPPED_H_
#define LOCKSTEP_TESTS_HOSTS_MAPPED_H_

#include <fstream>
#include <string>

// Whether a file of this name lies in it.
inline bool IsMapped(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(name) != std::string::npos) return true;
  }
  return false;
}

#endif  // LOCKSTEP_TESTS_HOSTS_MAPPED_H_
