/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Integer types in the declarations of KVM's functions: bytes, signed. The same on all kernels;
 * hyperv/kvm/contract.c has the compiler compare them.
 */
#ifdef KHV_INTEGER
KHV_INTEGER(u8, 1, false)
KHV_INTEGER(unsigned char, 1, false)
KHV_INTEGER(u16, 2, false)
KHV_INTEGER(u32, 4, false)
KHV_INTEGER(u64, 8, false)
KHV_INTEGER(s64, 8, true)
KHV_INTEGER(int, 4, true)
KHV_INTEGER(unsigned int, 4, false)
KHV_INTEGER(long, 8, true)
KHV_INTEGER(unsigned long, 8, false)
KHV_INTEGER(ulong, 8, false)
KHV_INTEGER(gpa_t, 8, false)
KHV_INTEGER(gva_t, 8, false)
#endif
