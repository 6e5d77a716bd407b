# A PC's boot sector that is a whole guest: no system comes up quickly in an HVM domain under emulation. It talks on its serial port, obeys its
# power button as an operating system does (ACPI 6.5, 4.8.3.1 and 4.8.3.2), and a `p` or an `r` that is typed powers it off or resets it.
# With KERNEL it is a Linux kernel to whoever boots it, all of it in real mode, and says its command line too.
# Its ports are those of Xen's tables: xen/include/public/hvm/ioreq.h, ACPI_PM1A_EVT_BLK_ADDRESS_V1 and ACPI_PM1A_CNT_BLK_ADDRESS_V1.
        .code16
        .globl  _start
        .set    COM1, 0x3f8
        .set    PM1_STATUS, 0xb000
        .set    PM1_CONTROL, 0xb004
_start:
        .ifdef  KERNEL                  # Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"; %ds is where this file begins
        .org    0x1f1
        .byte   1                       # setup_sects
        .org    0x1fe
        .word   0xaa55
        jmp     begin
        .org    0x202
        .ascii  "HdrS"
        .word   0x0202                  # the protocol
        .org    0x211
        .byte   1                       # LOADED_HIGH
        .org    0x228
cmdline:
        .long   0                       # where it lies, a physical address
        .org    0x270                   # beyond what a loader may write
begin:  cld
        .else
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        .endif
        sti
        movw    $COM1 + 3, %dx          # 115200 baud, 8N1
        movb    $0x83, %al
        outb    %al, %dx
        movw    $COM1, %dx
        movb    $1, %al
        outb    %al, %dx
        incw    %dx
        xorb    %al, %al
        outb    %al, %dx
        movw    $COM1 + 3, %dx
        movb    $3, %al
        outb    %al, %dx
up:     movw    $is_up, %si             # every five seconds: what nobody reads is lost
        call    print
        .ifdef  KERNEL
        pushw   %ds
        movl    cmdline, %eax
        shrl    $4, %eax
        movw    %ax, %ds
        xorw    %si, %si
        call    print
        popw    %ds
        movw    $newline, %si
        call    print
        .endif
        movw    $90, %cx
tick:   hlt                             # until the BIOS's clock ticks, 18 times a second
        movw    $PM1_STATUS, %dx
        inw     %dx, %ax
        testb   $1, %ah                 # PWRBTN_STS
        jnz     off
        movw    $COM1 + 5, %dx
        inb     %dx, %al
        testb   $1, %al
        jz      next
        movw    $COM1, %dx
        inb     %dx, %al
        cmpb    $'p', %al
        je      off
        cmpb    $'r', %al
        je      reset
next:   loop    tick
        jmp     up

off:    movw    $goes_off, %si
        call    print
        movw    $PM1_CONTROL, %dx       # SLP_EN, and S5 of Xen's tables
        movw    $0x2000, %ax
        outw    %ax, %dx
        jmp     still
reset:  movb    $0xfe, %al              # the keyboard controller's reset line
        outb    %al, $0x64
still:  hlt
        jmp     still

print:  lodsb
        testb   %al, %al
        jz      printed
        movb    %al, %bl
        movw    $COM1 + 5, %dx
full:   inb     %dx, %al
        testb   $0x20, %al
        jz      full
        movw    $COM1, %dx
        movb    %bl, %al
        outb    %al, %dx
        jmp     print
printed:
        ret

is_up:  .asciz  "pinfold-guest up\r\n"
goes_off:
        .asciz  "pinfold-guest powers off\r\n"
        .ifdef  KERNEL
newline:
        .asciz  "\r\n"
        .org    0x1000
        .else
        .org    510
        .byte   0x55, 0xaa
        .endif
