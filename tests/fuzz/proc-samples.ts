/** Files of /proc as Linux 6.18 prints them: proc_pid_stat(5) and its neighbours. */

export const stat = `22802 (sleep) S 22790 22790 11502 0 -1 4194304 137 0 0 0 0 0 0 0 20 0 1 0 4786964 2990080 414 18446744073709551615 94752676245504 94752676263433 140721172787792 0 0 0 0 6 0 1 0 0 17 0 0 0 0 0 0 94752676277520 94752676278784 94753391513600 140721172794074 140721172794083 140721172794083 140721172795369 0
`;

export const status = `Name:	sleep
Umask:	0022
State:	S (sleeping)
Tgid:	22802
Ngid:	0
Pid:	22802
PPid:	22790
TracerPid:	0
Uid:	0	0	0	0
Gid:	0	0	0	0
FDSize:	256
Groups:	 
NStgid:	22802
NSpid:	22802
NSpgid:	22790
NSsid:	11502
Kthread:	0
VmPeak:	    2920 kB
VmSize:	    2920 kB
VmLck:	       0 kB
VmPin:	       0 kB
VmHWM:	    1832 kB
VmRSS:	    1832 kB
RssAnon:	     112 kB
RssFile:	    1720 kB
RssShmem:	       0 kB
VmData:	     224 kB
VmStk:	     132 kB
VmExe:	      20 kB
VmLib:	    1528 kB
VmPTE:	      44 kB
VmSwap:	       0 kB
HugetlbPages:	       0 kB
CoreDumping:	0
THP_enabled:	1
untag_mask:	0xffffffffffffffff
Threads:	1
SigQ:	0/96365
SigPnd:	0000000000000000
ShdPnd:	0000000000000000
SigBlk:	0000000000000000
SigIgn:	0000000000000006
SigCgt:	0000000000000000
CapInh:	0000000000000000
CapPrm:	000001fffeffffff
CapEff:	000001fffeffffff
CapBnd:	000001fffeffffff
CapAmb:	0000000000000000
NoNewPrivs:	0
Seccomp:	0
Seccomp_filters:	0
Speculation_Store_Bypass:	vulnerable
SpeculationIndirectBranch:	always enabled
Cpus_allowed:	3
Cpus_allowed_list:	0-1
Mems_allowed:	00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000001
Mems_allowed_list:	0
voluntary_ctxt_switches:	1
nonvoluntary_ctxt_switches:	1
`;

export const maps = `562d539bd000-562d539bf000 r--p 00000000 fe:00 260875                     /usr/bin/sleep
562d539bf000-562d539c4000 r-xp 00002000 fe:00 260875                     /usr/bin/sleep
562d539c4000-562d539c6000 r--p 00007000 fe:00 260875                     /usr/bin/sleep
562d539c6000-562d539c7000 r--p 00009000 fe:00 260875                     /usr/bin/sleep
562d539c7000-562d539c8000 rw-p 0000a000 fe:00 260875                     /usr/bin/sleep
562d7e3e1000-562d7e402000 rw-p 00000000 00:00 0                          [heap]
7f93e53ad000-7f93e5404000 r--p 00000000 fe:00 329635                     /usr/lib/locale/C.utf8/LC_CTYPE
7f93e5404000-7f93e5405000 r--p 00000000 fe:00 329642                     /usr/lib/locale/C.utf8/LC_NUMERIC
7f93e5636000-7f93e5638000 r--p 00031000 fe:00 338944                     /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
7f93e5638000-7f93e563a000 rw-p 00033000 fe:00 338944                     /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
7ffc33824000-7ffc33845000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
`;

export const smaps = `562d539bd000-562d539bf000 r--p 00000000 fe:00 260875                     /usr/bin/sleep
Size:                  8 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                   8 kB
Pss:                   8 kB
Pss_Dirty:             0 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         8 kB
Private_Dirty:         0 kB
Referenced:            8 kB
Anonymous:             0 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:           0
VmFlags: rd mr mw me 
562d539bf000-562d539c4000 r-xp 00002000 fe:00 260875                     /usr/bin/sleep
Size:                 20 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                  20 kB
Pss:                  20 kB
Pss_Dirty:             0 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:        20 kB
Private_Dirty:         0 kB
Referenced:           20 kB
Anonymous:             0 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:           0
VmFlags: rd ex mr mw me 
562d539c4000-562d539c6000 r--p 00007000 fe:00 260875                     /usr/bin/sleep
Size:                  8 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                   8 kB
Pss:                   8 kB
Pss_Dirty:             0 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         8 kB
Private_Dirty:         0 kB
Referenced:            8 kB
Anonymous:             0 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:           0
VmFlags: rd mr mw me 
562d7e3e1000-562d7e402000 rw-p 00000000 00:00 0                          [heap]
Size:                132 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                  16 kB
Pss:                  16 kB
Pss_Dirty:            16 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:        16 kB
Referenced:           16 kB
Anonymous:            16 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:           0
VmFlags: rd wr mr mw me ac 
7f93e5603000-7f93e5605000 r-xp 00000000 00:00 0                          [vdso]
Size:                  8 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                   4 kB
Pss:                   0 kB
Pss_Dirty:             0 kB
Shared_Clean:          4 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:         0 kB
Referenced:            4 kB
Anonymous:             0 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:           0
VmFlags: rd ex mr mw me de 
7ffc33824000-7ffc33845000 rw-p 00000000 00:00 0                          [stack]
Size:                132 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                  16 kB
Pss:                  16 kB
Pss_Dirty:            16 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         0 kB
Private_Dirty:        16 kB
Referenced:           16 kB
Anonymous:            16 kB
KSM:                   0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:           0
VmFlags: rd wr mr mw me gd ac 
`;

export const cpuinfo = `processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 25
model		: 17
model name	: AMD EPYC
stepping	: 1
microcode	: 0x1000065
cpu MHz		: 2596.140
cache size	: 1024 KB
physical id	: 0
siblings	: 2
core id		: 0
cpu cores	: 2
apicid		: 0
initial apicid	: 0
fpu		: yes
fpu_exception	: yes
cpuid level	: 28
wp		: yes
flags		: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ht syscall nx mmxext fxsr_opt pdpe1gb rdtscp lm constant_tsc rep_good nopl xtopology nonstop_tsc cpuid extd_apicid tsc_known_freq pni pclmulqdq ssse3 fma cx16 pcid sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave avx f16c rdrand hypervisor lahf_lm cmp_legacy cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw topoext vmmcall fsgsbase tsc_adjust bmi1 avx2 smep bmi2 erms invpcid avx512f avx512dq rdseed adx smap avx512ifma clflushopt clwb avx512cd sha_ni avx512bw avx512vl xsaveopt xsavec xgetbv1 xsaves avx512_bf16 clzero xsaveerptr arat avx512vbmi umip avx512_vbmi2 gfni vaes vpclmulqdq avx512_vnni avx512_bitalg avx512_vpopcntdq rdpid fsrm
bugs		: sysret_ss_attrs null_seg spectre_v1 spectre_v2 spec_store_bypass srso spectre_v2_user
bogomips	: 5192.28
TLB size	: 3584 4K pages
clflush size	: 64
cache_alignment	: 64
address sizes	: 48 bits physical, 48 bits virtual
power management:

`;

export const mountinfo = `27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resuid=65534
36 27 0:33 /sub /mnt/a\\040b\\134c rw,noatime shared:1 master:2 - fuse.sshfs user@host:/x\\040y rw,user_id=0
40 27 0:40 / /none ro - tmpfs  rw
`;

export const timers = `ID: 0
signal: 14/0000000000000000
notify: signal/pid.4490
ClockID: 0
ID: 7
signal: 32/00007f6207fd2000
notify: signal/tid.4491
ClockID: -6
`;

export const sched = `sleep (28917, #threads: 1)
-----------------------------------
se.exec_start                                :      18952946.252373
se.vruntime                                  :          5231.907661
nr_switches                                  :                   11
nr_voluntary_switches                        :                    7
`;

export const segments = `       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap
-305441741     229381   640                 20380 19323 19324      5  1234  2345     1     2 1795622475          0 1795622470                  8192                     0
`;

export const igmp = `Idx	Device    : Count Querier	Group    Users Timer	Reporter
1	lo        :     1      V3
				010000E0     1 0:00000000		0
12	eth0      :     2      V3
				FB0000E0     1 0:00000000		0
`;

export const raw = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 245: 0100007F:0001 0100007F:0000 01 00000000:00000000 00:00000000 00000000     0        0 39940373 2 00000000e6eb563d 0
  58: 00000000000000000000000001000000:003A 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 78 2 0000000000000000 0
`;

export const igmp6 = `3    eth0            ff0200000000000000000000000000fb     1 0000000C 0
`;

export const syscall = `219 0x55e4 0x9 0x0 0x55e469 0x0 0xffffffffffffffff 0x7fd01490feb8 0x7fd016218829
`;

const HEAD = `pos:\t8192\nflags:\t02100002\nmnt_id:\t27\nino:\t2155081\n`;

export const fdinfo = [
  HEAD,
  `${HEAD}eventfd-count: ffffffff00000005\neventfd-id: 1\neventfd-semaphore: 1\n`,
  `${HEAD}clockid: 1\nticks: 0\nsettime flags: 01\nit_value: (0, 7)\nit_interval: (1, 0)\n`,
  `${HEAD}tfd:       12 events:       1f data:                c  pos:0 ino:40f sdev:10\n`,
  `${HEAD}inotify wd:2 ino:3f7e8 sdev:fe00000 mask:2 ignored_mask:0\n`,
  `${HEAD}lock:\t1: POSIX  ADVISORY  WRITE 4490 fe:00:2155081 10 109\nlock:\t2: FLOCK  ADVISORY  READ 4490 fe:00:2155082 0 EOF\n`,
];
