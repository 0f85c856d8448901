; The installer for Windows, for one user, without an administrator. `make release` calls makensis with VERSION, NUMBERS
; (four of them), PROGRAMS (the folder with both), PAGE and OUT. Silent: /S, and /AUTOSTART to start at login.
Target amd64-unicode
Unicode true
!ifdef QUICK ; for a test
SetCompress off
!else
SetCompressor /SOLID lzma
; Both programs are nearly the same: the second is found in the first.
SetCompressorDictSize 64
!endif
SetDateSave off
Name "Codex Proxy"
OutFile "${OUT}"
RequestExecutionLevel user
ManifestDPIAware true
ManifestSupportedOS Win10
InstallDir "$LOCALAPPDATA\Programs\Codex Proxy"
Icon "icon.ico"
UninstallIcon "icon.ico"
VIProductVersion "${NUMBERS}"
VIFileVersion "${NUMBERS}"
VIAddVersionKey ProductName "Codex Proxy"
VIAddVersionKey ProductVersion "${VERSION}"
VIAddVersionKey FileVersion "${VERSION}"
VIAddVersionKey FileDescription "Installs Codex Proxy"
VIAddVersionKey LegalCopyright "MIT licence"

!include MUI2.nsh
!include FileFunc.nsh
!include LogicLib.nsh
!define MUI_ICON "icon.ico"
!define MUI_UNICON "icon.ico"
!define MUI_FINISHPAGE_RUN "$INSTDIR\codex-proxy-tray.exe"
!insertmacro MUI_PAGE_LICENSE "..\..\LICENSE"
!insertmacro MUI_PAGE_COMPONENTS
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE English

!define APPS "Software\Microsoft\Windows\CurrentVersion\Uninstall\CodexProxy"
Var Ran

; Windows lets a running program be renamed, but not overwritten. So nothing has to be waited for before the new one is
; there, and an upgrade that fails half-way leaves one of the two.
!macro PutAside FILE
  ${If} ${FileExists} "$INSTDIR\${FILE}"
    Delete "$INSTDIR\${FILE}.old"
    Rename "$INSTDIR\${FILE}" "$INSTDIR\${FILE}.old"
  ${EndIf}
!macroend

; Takes a file away that a program which is just ending may still hold: it is asked for 100 seconds.
!macro DeleteWhenFree FILE
  StrCpy $1 0
  ${DoWhile} ${FileExists} "$INSTDIR\${FILE}"
    ClearErrors
    Delete "$INSTDIR\${FILE}"
    IntOp $1 $1 + 1
    ${If} $1 > 400
      Delete /REBOOTOK "$INSTDIR\${FILE}"
      ${ExitDo}
    ${EndIf}
    ${If} ${FileExists} "$INSTDIR\${FILE}"
      Sleep 250
    ${EndIf}
  ${Loop}
!macroend

Section "Codex Proxy"
  SectionIn RO
  SetOutPath "$INSTDIR"
  StrCpy $Ran 1
  !insertmacro PutAside codex-proxy.exe
  !insertmacro PutAside codex-proxy-tray.exe
  File "${PROGRAMS}\codex-proxy.exe"
  File "${PROGRAMS}\codex-proxy-tray.exe"
  File "..\..\LICENSE"
  File "..\..\build\packaging\LICENSES.txt"
  ${If} ${FileExists} "$INSTDIR\codex-proxy-tray.exe.old"
    ; The one that runs ends in good order: answers under way have their time, and the sign-in is safe.
    nsExec::Exec '"$INSTDIR\codex-proxy.exe" quit'
    Pop $Ran
  ${EndIf}
  !insertmacro DeleteWhenFree codex-proxy.exe.old
  !insertmacro DeleteWhenFree codex-proxy-tray.exe.old
  CreateShortcut "$SMPROGRAMS\Codex Proxy.lnk" "$INSTDIR\codex-proxy-tray.exe"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr HKCU "${APPS}" DisplayName "Codex Proxy"
  WriteRegStr HKCU "${APPS}" DisplayVersion "${VERSION}"
  WriteRegStr HKCU "${APPS}" DisplayIcon "$INSTDIR\codex-proxy-tray.exe"
  WriteRegStr HKCU "${APPS}" Publisher "The Codex Proxy authors"
  WriteRegStr HKCU "${APPS}" URLInfoAbout "${PAGE}"
  WriteRegStr HKCU "${APPS}" InstallLocation "$INSTDIR"
  WriteRegStr HKCU "${APPS}" UninstallString '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${APPS}" QuietUninstallString '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKCU "${APPS}" NoModify 1
  WriteRegDWORD HKCU "${APPS}" NoRepair 1
  ${GetSize} "$INSTDIR" "/S=0K" $0 $1 $2
  WriteRegDWORD HKCU "${APPS}" EstimatedSize $0
  ${If} $Ran == 0
    Exec '"$INSTDIR\codex-proxy-tray.exe"'
  ${EndIf}
SectionEnd

Section /o "Start at login" Autostart
  nsExec::Exec '"$INSTDIR\codex-proxy.exe" autostart on'
  Pop $0
SectionEnd

Function .onInit
  ${GetParameters} $0
  ClearErrors
  ${GetOptions} $0 "/AUTOSTART" $1
  ${IfNot} ${Errors}
    !insertmacro SelectSection ${Autostart}
  ${EndIf}
FunctionEnd

Section Uninstall
  ; Ends what runs, the start at login and the task. The sign-in and the settings are the user's.
  nsExec::Exec '"$INSTDIR\codex-proxy.exe" uninstall'
  Pop $0
  !insertmacro DeleteWhenFree codex-proxy.exe
  !insertmacro DeleteWhenFree codex-proxy-tray.exe
  Delete "$INSTDIR\codex-proxy.exe.old"
  Delete "$INSTDIR\codex-proxy-tray.exe.old"
  Delete "$INSTDIR\LICENSE"
  Delete "$INSTDIR\LICENSES.txt"
  Delete "$INSTDIR\uninstall.exe"
  Delete "$SMPROGRAMS\Codex Proxy.lnk"
  RMDir "$INSTDIR"
  DeleteRegKey HKCU "${APPS}"
  Delete "$TEMP\codex-proxy-notification*.png"
  DeleteRegKey HKCU "Software\Classes\AppUserModelId\CodexProxy.CodexProxy"
  DeleteRegKey HKCU "Software\Classes\CLSID\{6E8B7B0C-3C1B-4D6D-9E0A-0C7A4E4E0B51}"
SectionEnd
